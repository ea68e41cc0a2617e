"""Whether a model still has the weights that its config describes, after it was changed by hand in Python."""

from __future__ import annotations

from torch import nn

from zoo.anatomy.config import ModelConfig
from zoo.errors import UsageError, some
from zoo.models.construction import on_meta, shared_parameters

Weights = dict[str, tuple[tuple[int, ...], list[str]]]  # by the first name: the shape, and the other names


def refuse_replaced(model: nn.Module, config: ModelConfig) -> None:
    """Raise UsageError for weights that `config` does not describe: of another size, more, fewer, tied otherwise.

    A file of them would be refused when it is loaded, or, where layers are the same twice, would have fewer.
    """
    if "pipeline" in model.__dict__:  # each stage has a part
        return
    ours, said = _weights(model), _weights(on_meta(config))
    if changes := [name for name in sorted(ours.keys() | said.keys()) if ours.get(name) != said.get(name)]:
        name = changes[0]
        what = f"the model has {_told(ours, name)}, where its config describes {_told(said, name)}"
        why = f"not as described, too: {some(changes[1:])}" if changes[1:] else ""
        raise UsageError(what, why=why, hint=_hint(ours, said, name))


def _hint(ours: Weights, said: Weights, name: str) -> str:
    if any("_orig_mod" in other for other in ours):
        return "save what torch.compile wrapped: model._orig_mod; model.compile() wraps nothing"
    if name in ours and name in said and ours[name][0] == said[name][0] and set(said[name][1]) > set(ours[name][1]):
        tied = f"model.{said[name][1][0]} = model.{name}"
        return f"make them one again, as load_state_dict(..., assign=True) does not leave them: {tied}"
    return "build a model whose config describes them, and give it the weights: load_state_dict"


def _weights(model: nn.Module) -> Weights:
    return {names[0]: (tuple(weight.shape), names[1:]) for names, weight in shared_parameters(model)}


def _told(weights: Weights, name: str) -> str:
    if name in weights:
        shape, also = weights[name]
        return f"{name} {[*shape]}" + (f", which is {some(also)} too" if also else "")
    of = next((first for first, (_, also) in weights.items() if name in also), None)
    return f"no {name}" if of is None else f"{name} as another name of {of}"
