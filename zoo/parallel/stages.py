"""Layers by rank: which weights each stage of a pipeline has, and for which models there are stages.

The first stage has what makes states of tokens, the last what makes logits of them, each has some of the layers. What
both ends use, as an embedding that is the head, both have, and its gradients are added up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.overrides import TorchFunctionMode

from zoo.anatomy.records import Shape
from zoo.errors import UsageError, some
from zoo.nn.decoder import Decoder
from zoo.parallel.declared import names_of
from zoo.parallel.pipeline import Elsewhere, Pipeline, in_stages
from zoo.parallel.shares import Need, layers_of
from zoo.parallel.sums import Ranks
from zoo.weights.table import Step

STACK = "layers."
KNOWN = {"tokens", "positions", "attention_mask", "cache", "last"}  # what a forward may take that all stages know


@dataclass
class StagePlan:
    """The weights of each stage of a model's pipeline."""

    ranks: Ranks
    model: nn.Module
    stages: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of each weight, by its first name

    @classmethod
    def of(cls, model: nn.Module, mesh: DeviceMesh) -> StagePlan:
        """The plan of a model. Raises UsageError, with the reason, for one without stages."""
        count = mesh.size()
        check_layers(model, count)
        ends = _used_by_ends(model)
        plan, odd = cls(Ranks(mesh), model), []
        for names in names_of(model):
            found = {_stage_of(int(name.split(".")[1]), model, count) for name in names if name.startswith(STACK)}
            weight = id(model.get_parameter(names[0]))
            found |= {stage for stage, used in ((0, ends[0]), (count - 1, ends[1])) if weight in used}
            plan.stages[names[0]] = tuple(sorted(found))
            if not found or (len(found) > 1 and any(name.startswith(STACK) for name in names)):
                odd.append(names[0])
        if odd:
            what = f"pp={count}: {some(odd)} of the model belongs to no one stage"
            raise UsageError(what, hint="cut it by tp, which knows no stages")
        return plan

    def holds(self, name: str) -> bool:
        """Whether this stage has the weight."""
        return self.ranks.number in self.stages[name]

    def narrowed(self, step: Step) -> Step | None:
        """The step, where this stage has something of what it gives."""
        return step if any(self.holds(name) for name in step.ours) else None

    def check(self, needs: Iterable[Need]) -> None:
        """No weight is cut, and no border is in the way."""

    def slices(self, name: str, shape: Shape) -> tuple[slice, ...]:
        """A weight of a stage is whole."""
        return (slice(None),) * len(shape)

    def placed(self, name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """As it is."""
        return part

    def lighten(self) -> None:
        """Take out of the model what other stages have."""
        model: Any = self.model
        mine = self._layers()
        for i in range(len(model.layers)):
            if i not in mine:
                model.layers[i] = Elsewhere()
        gone = {
            id(model.get_parameter(name))
            for name, stages in self.stages.items()
            if not name.startswith(STACK) and self.ranks.number not in stages
        }
        for path, module in [*model.named_modules()]:
            found = [leaf for leaf, p in module._parameters.items() if p is not None and id(p) in gone]
            if found and isinstance(module, nn.Linear):  # not one without numbers, at which others might look
                model.set_submodule(path, Elsewhere())
            else:
                module._parameters.update(dict.fromkeys(found))
        if self.ranks.number < self.ranks.count - 1:
            model.norm = nn.Identity()

    def install(self) -> None:
        """Let the model compute in turns with the other stages."""
        last = self.ranks.count - 1
        tied = [name for name, stages in self.stages.items() if stages == (0, last) and last > 0 and self.holds(name)]
        weights = dict(self.model.named_parameters())  # without what is packed, which does not learn
        learning = [weights[name] for name in tied if name in weights]
        in_stages(self.model, Pipeline(self.ranks, tuple(self.stages), learning))

    def _layers(self) -> range:
        model: Any = self.model
        return layers_of(len(model.layers), self.ranks.count, self.ranks.number)

    def __str__(self) -> str:
        mine = self._layers()
        return f"stage {self.ranks.number} of {self.ranks.count}: layers {mine[0]} to {mine[-1]}"


def check_layers(model: nn.Module, count: int) -> None:
    """Raise UsageError for a model that is no one stack of layers, or one of too few."""
    kind = type(model).__name__
    if not isinstance(model, Decoder):
        raise UsageError(f"pp={count}: {kind} is not one stack of layers from tokens to logits, and has no stages")
    if others := set(inspect.signature(model.forward).parameters) - KNOWN:
        raise UsageError(f"pp={count}: {kind} reads {min(others)} beside tokens, and has no stages")
    layers = len(model.layers)
    if layers < count:
        hint = f"sizes that work: 1 to {layers}"
        raise UsageError(f"pp={count}: there are {layers} layers, and a stage would have none", hint=hint)
    for number, layer in enumerate(model.layers):
        source = getattr(getattr(layer, "attn", None), "chosen_by", number)
        if _stage_of(number, model, count) != _stage_of(source, model, count):
            what = (
                f"pp={count}: layer {number} of {kind} reads the tokens that layer {source} chooses, in another stage"
            )
            raise UsageError(what, hint="cut it by tp, which knows no stages")


def _stage_of(number: int, model: Any, count: int) -> int:
    return next(stage for stage in range(count) if number in layers_of(len(model.layers), count, stage))


def _used_by_ends(model: Any) -> tuple[set[int], set[int]]:
    """Which weights, by their ids, make states of tokens, and which make logits of states."""
    first, last = _Used(), _Used()
    last.found |= {id(p) for p in model.norm.parameters()}
    ways = {"encode": _watched(model, first), "decode": _watching(model.decode, last)}
    device = next(model.parameters()).device
    try:
        model.__dict__.update(ways)
        with torch.no_grad():
            model(torch.zeros(1, 2, dtype=torch.long, device=device))
    except (RuntimeError, NotImplementedError) as error:
        what = f"pp: what each stage of {type(model).__name__} needs is not to be seen without numbers"
        raise UsageError(what, why=str(error).splitlines()[0]) from error
    finally:
        for name in ways:
            del model.__dict__[name]
    return first.found, last.found


def _watching(call: Callable[..., Any], used: _Used) -> Callable[..., Any]:
    def watched(*args: Any) -> Any:
        with used:
            return call(*args)

    return watched


def _watched(model: Any, used: _Used) -> Callable[..., Any]:
    """`encode`, which may tell the layers nothing but the states: other stages do not hear it."""
    encode = _watching(model.encode, used)

    def watched(tokens: Tensor, span: Any) -> Tensor:
        before = dict(_public(span))
        x = encode(tokens, span)
        told = [name for name, value in _public(span) if value is not before.get(name)]
        if told or getattr(model, "markers", ()):
            what = f"{type(model).__name__} tells its layers {some(told or ['what a marker means'])} beside states"
            raise UsageError(f"pp: {what}, and has no stages")
        return x

    return watched


def _public(span: Any) -> Iterator[tuple[str, Any]]:
    yield from ((name, value) for name, value in vars(span).items() if not name.startswith("_"))


class _Used(TorchFunctionMode):
    """Remembers what tensors are computed with."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= {id(x) for x in (*args, *(kwargs or {}).values()) if isinstance(x, Tensor)}
        return func(*args, **(kwargs or {}))
