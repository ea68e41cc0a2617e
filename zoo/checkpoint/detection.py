"""Which family a checkpoint belongs to, and which one it looks like where it does not fit."""

from __future__ import annotations

from zoo.checkpoint.interpretation import config_file, our_shapes, table_for
from zoo.errors import CheckpointError, ZooError, clean, some
from zoo.files.checkpoint import Checkpoint
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.weights.dialect import Match
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.ledger import settle


def family_of(checkpoint: Checkpoint, name: str | None) -> tuple[Family, Match]:
    """The family that was asked for by `name`, or the one whose claim on the config is the best.

    Raises CheckpointError where no family or several claim it.
    """
    registry = installed()
    if name:
        return registry[name], Match(1.0, ("asked for",))
    if checkpoint.dialect == "zoo":
        return registry[str(checkpoint.config.get("family"))], Match(1.0, ("zoo wrote it",))
    found = registry.detect(checkpoint.config, checkpoint.dialect)
    if not found:
        raise _no_family(checkpoint)
    best, match = found[0]
    if len(found) > 1 and found[1][1].score == match.score:
        rivals = some([f.name for f, m in found if m.score == match.score], 9)
        raise CheckpointError(config_file(checkpoint), "", f"it may be any of {rivals}", hint="choose one: family=NAME")
    return best, match


def _no_family(checkpoint: Checkpoint) -> ZooError:
    key = "general.architecture" if checkpoint.dialect == "gguf" else "model_type"
    value = checkpoint.config.get(key)
    kind = clean(repr(value))
    for family in installed().families.values():
        if checkpoint.dialect == "hf" and isinstance(value, str) and value in family.near:
            return CheckpointError(config_file(checkpoint), key, f"zoo does not know {kind}", why=family.near[value])
    better = better_fit(checkpoint, None, 0.5)
    return CheckpointError(
        config_file(checkpoint),
        key,
        f"{kind} belongs to no installed family",
        why=f"its tensors look like {better[0]} (score {better[1]:.2f})" if better else "",
        hint=f"try: family={better[0]}" if better else "see: zoo list, zoo plugins",
    )


def better_fit(checkpoint: Checkpoint, chosen: Family | None, fit: float) -> tuple[str, float] | None:
    """The family whose table leaves the fewest tensors over, if it beats `fit` clearly."""
    best: tuple[str, float] | None = None
    for family in installed().families.values():
        if family is chosen or checkpoint.dialect not in family.formats:
            continue
        try:
            dialect = family.dialect(checkpoint.dialect)
            config = dialect.from_config(ForeignConfig(checkpoint.config, config_file(checkpoint), checkpoint.tensors))
            table = table_for(family, checkpoint.dialect, config, checkpoint.tensors)
            account = settle(table, our_shapes(family, config), checkpoint.tensors)
        except (ZooError, KeyError, TypeError, ValueError, ZeroDivisionError):
            continue  # the config is not even of this family's form
        if account.fit > max(fit, best[1] if best else 0.0, 0.8):
            best = family.name, account.fit
    return best


def with_a_better_fit(error: CheckpointError, checkpoint: Checkpoint, chosen: Family) -> CheckpointError:
    """The same error, ending with the family that a config is of that is refused as the chosen one's."""
    if better := better_fit(checkpoint, chosen, 0.0):
        looks = f"this looks like {better[0]} (score {better[1]:.2f}).  Try: family={better[0]}"
        error.args = ("\n".join((str(error), looks)),)
        error.hint = "\n".join(line for line in (error.hint, looks) if line)
    return error
