"""A model whose parts were changed by hand: what it would be saved as could not be read again, or not as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.checkpoint.interpretation import our_shapes, second_names
from zoo.errors import UsageError, clean
from zoo.registry.family import Family
from zoo.weights.account import Account

HINT = (
    "zoo.build(config, device='cpu'), of a config that says so, has these weights; give it the numbers: load_state_dict"
)


def refuse_altered(
    family: Family,
    config: ModelConfig,
    found: Mapping[str, Shape],
    packed: Collection[str] = (),
    seconds: Mapping[str, Shape] | None = None,
) -> None:
    """Raise UsageError where the weights found in a model, beside the packed, are not those that its config describes.

    So it is after layers were taken out or added, a table of tokens lengthened, a head untied, a matrix parametrised.
    `seconds` are further names of those found, as a tied head has, and a layer that was put in twice.
    """
    expected = our_shapes(family, config)
    tied = second_names(config) if seconds else {}
    again = {name: shape for name, shape in (seconds or {}).items() if name not in tied and name not in expected}
    account = Account(
        missing={name: shape for name, shape in expected.items() if name not in found and name not in packed},
        unexpected={name: shape for name, shape in found.items() if name not in expected} | again,
        mismatched={
            name: f"{list(shape)}, by the config {list(expected[name])}"
            for name, shape in found.items()
            if shape != expected.get(name, shape)
        },
    )
    if account.is_settled:
        return
    rows = account.problems()
    count = len(account.missing) + len(account.unexpected) + len(account.mismatched)
    lines = [f"  {kind:10}  {clean(name)}  {what}" for kind, name, what in rows[:8]]
    lines += [f"  and {len(rows) - 8} more groups"] if len(rows) > 8 else []
    what = f"zoo.save: {count} weights of the model are not what its config says, and nobody could read them"
    raise UsageError(what, why="\n".join(lines), hint=_hint(account, config))


def _hint(account: Account, config: ModelConfig) -> str:
    if any("_orig_mod" in name for name in account.unexpected):
        return "save what torch.compile wrapped: model._orig_mod; model.compile() wraps nothing"
    first_of = {} if account.missing or account.mismatched else second_names(config)
    if account.unexpected and account.unexpected.keys() <= first_of.keys():
        ties = "; ".join(f"model.{name} = model.{first_of[name]}" for name in sorted(account.unexpected))
        return f"make them one again, as load_state_dict(..., assign=True) does not leave them: {ties}"
    return HINT
