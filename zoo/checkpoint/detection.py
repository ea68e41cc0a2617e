"""Which family a checkpoint belongs to, and which one it looks like where it does not fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.interpretation import our_shapes, overridden, read_config, table_for
from zoo.errors import CheckpointError, ZooError, clean, some
from zoo.files.checkpoint import Checkpoint
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.registry.isolation import isolated
from zoo.weights.account import Account, settle
from zoo.weights.dialect import Match
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.foreign.unknown import telling

MOST_TENSORS = 20_000  # beyond, trying every family takes longer than a refusal should


def family_of(checkpoint: Checkpoint, name: str | None) -> tuple[Family, Match]:
    """The family that was asked for by `name`, or the one whose claim on the config is the best.

    Raises CheckpointError where no family or several claim it.
    """
    registry = installed()
    if name:
        family = registry[name]
        own = family.match(checkpoint.config, checkpoint.dialect) if checkpoint.dialect == "hf" else None
        return family, Match(1.0, ("asked for",), own.format if own else "")
    if checkpoint.dialect == "zoo":
        return registry[str(checkpoint.config.get("family"))], Match(1.0, ("zoo wrote it",))
    found = registry.detect(checkpoint.config, checkpoint.dialect)
    if not found:
        raise _no_family(checkpoint)
    best, match = found[0]
    if len(found) > 1 and found[1][1].score == match.score:
        rivals = some([f.name for f, m in found if m.score == match.score], 9)
        raise CheckpointError(checkpoint.config_file, "", f"it may be any of {rivals}", hint="choose one: family=NAME")
    return best, match


def _no_family(checkpoint: Checkpoint) -> ZooError:
    key = "general.architecture" if checkpoint.dialect == "gguf" else "model_type"
    value = checkpoint.config.get(key)
    kind = clean(repr(value))
    for family in installed().families.values():
        if checkpoint.dialect == "hf" and isinstance(value, str) and value in family.near:
            return CheckpointError(checkpoint.config_file, key, f"zoo does not know {kind}", why=family.near[value])
    return CheckpointError(
        checkpoint.config_file,
        key,
        f"{kind} belongs to no installed family",
        why=_same_names([reading.family for reading in _fitting(checkpoint, None, ("*",))]),
        hint=f"see: zoo list, zoo plugins{_extra(checkpoint)}",
    )


def _extra(checkpoint: Checkpoint) -> str:
    """How more families may be read."""
    if checkpoint.dialect != "hf" or find_spec("transformers") is not None:
        return ""
    return ". With pip install 'zoo-lm[reference]' zoo reads it by transformers, if that has a class for it"


@dataclass(frozen=True)
class Interpreted:
    """A checkpoint read as one family's."""

    family: Family
    keys: ForeignConfig
    config: ModelConfig
    account: Account


def reading_of(
    family: Family, checkpoint: Checkpoint, allow: Iterable[str] = (), overrides: Iterable[str] = ()
) -> Interpreted | None:
    """How `family` would read a checkpoint; None where its config is not even of this family's form."""
    try:
        with isolated(family.name):
            keys, config = read_config(family, checkpoint, allow)
            config = overridden(config, overrides)
            table = table_for(family, checkpoint.dialect, config, checkpoint.tensors)
            account = settle(table, our_shapes(family, config), checkpoint.tensors, spare=checkpoint.spare)
    except ZooError:
        return None
    account.allow(allow if "*" not in allow else ())
    return Interpreted(family, keys, config, account)


def look_alike(
    checkpoint: Checkpoint, chosen: Family, allow: Iterable[str] = (), account: Account | None = None
) -> tuple[tuple[str, float] | None, str]:
    """The family that a refused checkpoint is to be read as instead, with its score, and what else its names say.

    It is offered only where the chosen family leaves tensors over that this one alone reads, all of them, by keys that
    mean the same whatever model_type says. For names that fit prove no arithmetic, and a checkpoint that lacks tensors
    is not another one for it.
    """
    if account is None:
        own = reading_of(chosen, checkpoint, ("*",))
        account = own.account if own else None
    if account is not None and account.is_settled:
        return None, ""  # a key is the trouble, and no other family is
    left = set() if account is None else {*account.unexpected, *account.mismatched}
    # A family that leaves out what is wrong, as one of texts does with a tower, reads another model.
    fits = [f for f in _fitting(checkpoint, chosen, ("*",)) if not left & f.account.ignored.keys()]
    if left and len(fits) == 1 and _is_sure(fits[0], checkpoint, tuple(allow)):
        return (fits[0].family.name, fits[0].account.fit), ""
    return None, _same_names([reading.family for reading in fits])


def with_a_look_alike(
    error: CheckpointError, checkpoint: Checkpoint, chosen: Family, allow: Iterable[str]
) -> CheckpointError:
    """The same error, ending with the family that a config is of that is refused as the chosen one's."""
    found, names = look_alike(checkpoint, chosen, allow)
    if line := offer(found) if found else names:
        error.args = ("\n".join((str(error), line)),)
        error.hint = "\n".join(part for part in (error.hint, line) if part)
    return error


def offer(found: tuple[str, float]) -> str:
    """The line that offers a family, which was tried."""
    return f"this looks like {found[0]} (score {found[1]:.2f}).  Try: family={found[0]}"


def _fitting(checkpoint: Checkpoint, chosen: Family | None, allow: tuple[str, ...]) -> list[Interpreted]:
    """The readings by other families that give every tensor its place."""
    if len(checkpoint.tensors) > MOST_TENSORS:
        return []
    known = [f for f in installed().families.values() if f is not chosen and checkpoint.dialect in f.formats]
    others = [f for f in known if f.hf_types or checkpoint.dialect != "hf" or f.match(checkpoint.config)]
    found = [reading for family in others if (reading := reading_of(family, checkpoint, allow))]
    return [reading for reading in found if reading.account.is_settled and not reading.account.random]


def _is_sure(reading: Interpreted, checkpoint: Checkpoint, allow: tuple[str, ...]) -> bool:
    """Whether a family knows all keys, reads them alike under each of its types, and hangs on nothing it assumed."""
    if reading_of(reading.family, checkpoint, allow) is None or any(telling(group) for group in reading.keys.groups):
        return False
    others = [{"model_type": kind} for kind in reading.family.hf_types if checkpoint.dialect == "hf"]
    for name, value in telling(reading.keys).items():
        if isinstance(value, str):
            return False
        others.append({name: 2 * value + 1})
    for other in others:
        own = reading_of(reading.family, replace(checkpoint, config={**checkpoint.config, **other}), ("*",))
        if own is None or own.config != reading.config:
            return False
    return True


def _same_names(families: list[Family]) -> str:
    names = [family.name for family in families]
    if not names:
        return ""
    listed = " and ".join((some(names[:-1], 9), names[-1])) if names[1:] else names[0]
    return f"its tensor names are those of {listed}; that does not prove that it computes in the same way"
