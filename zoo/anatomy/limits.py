"""What the numbers of a config must be, and must be to each other: checks that raise ConfigError in terms of paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zoo.errors import ConfigError, did_you_mean


def one_of(path: str, value: str, known: Iterable[str]) -> None:
    """Raise ConfigError unless `value` is one of `known`."""
    if value not in (known := tuple(known)):
        raise ConfigError(f"{path}={value!r} is not one of {', '.join(known)}", why=did_you_mean(value, known))


def multiple_of(path: str, value: int, other_path: str, other: int) -> None:
    """Raise ConfigError unless `value` is a multiple of `other`."""
    if other < 1 or value % other:
        raise ConfigError(f"{path}={value} is not a multiple of {other_path}={other}")


def even(path: str, value: int) -> None:
    """Raise ConfigError unless `value` channels make pairs."""
    if value % 2:
        raise ConfigError(f"{path}={value} is odd, and rotary positions rotate channels in pairs")


def at_least(low: int, *, part: str = "model", **values: int | None) -> None:
    """Raise ConfigError for a field of `part` below `low`."""
    for name, value in values.items():
        if value is not None and value < low:
            raise ConfigError(f"{part}.{name}={value} is below {low}")


def check_labels(head: str, classifiers: Iterable[str], num_labels: int | None, labels: Sequence[str]) -> None:
    """Raise ConfigError unless a head that classifies, and no other, has a number of classes, and names all or none."""
    at_least(1, num_labels=num_labels)
    if (num_labels is not None) != (head in classifiers):
        needs = "needs" if num_labels is None else "does not use"
        raise ConfigError(f"model.head={head!r} {needs} model.num_labels")
    if labels and len(labels) != num_labels:
        raise ConfigError(f"model.labels names {len(labels)} classes, model.num_labels={num_labels}")


def rotary_pairs(partial: float, width: int, name: str = "model.head_dim") -> None:
    """Raise ConfigError unless the share `partial` of a head's `width` is whole pairs of channels."""
    rotary = int(width * partial)
    if rotary < 2 or rotary % 2:
        raise ConfigError(f"model.rope.partial={partial:g} of {name}={width} is {rotary} channels, not whole pairs")


def expert_groups(
    num_experts: int,
    experts_per_token: int,
    num_groups: int,
    groups_per_token: int,
    *,
    part: str = "model",
    ranked_by_two: bool,
) -> None:
    """Raise ConfigError unless a token finds its experts in the groups it may choose (arXiv:2412.19437, section 2.1.2).

    `ranked_by_two` says that groups are ranked by their best two experts, of which one alone has none.
    """
    at_least(1, part=part, num_experts=num_experts, experts_per_token=experts_per_token)
    at_least(1, part=part, num_groups=num_groups, groups_per_token=groups_per_token)
    multiple_of(f"{part}.num_experts", num_experts, f"{part}.num_groups", num_groups)
    if groups_per_token > num_groups:
        raise ConfigError(f"{part}.groups_per_token={groups_per_token} exceeds {part}.num_groups={num_groups}")
    size = num_experts // num_groups
    if experts_per_token > groups_per_token * size:
        raise ConfigError(
            f"{part}.experts_per_token={experts_per_token} exceeds the {groups_per_token * size} experts in "
            f"{part}.groups_per_token={groups_per_token} groups of {size}"
        )
    if ranked_by_two and num_groups > 1 and size < 2:
        raise ConfigError(
            f"{part}.num_groups={num_groups} makes groups of one expert, but groups are ranked by their best two"
        )
