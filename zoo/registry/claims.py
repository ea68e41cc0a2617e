"""A family's claim on a config, held to what a claim may be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zoo.registry.family import Family
from zoo.registry.isolation import PluginError

if TYPE_CHECKING:
    from zoo.weights.dialect import Match


def checked_match(match: object, family: Family) -> Match | None:
    """A family's claim on a config. Raises ZooError for what is no claim: a score of 2 would beat every other."""
    from zoo.weights.dialect import Match

    if match is None:
        return None
    if not isinstance(match, Match) or not isinstance(match.score, int | float) or not 0 <= match.score <= 1:
        raise PluginError(
            f"{family.name}: matches() returned {match!r}, which is not a zoo.Match with a score from 0 to 1"
        )
    return match


def ranked(claims: Iterable[tuple[Family, Match]]) -> list[tuple[Family, Match]]:
    """The surest first, without those that another stands instead of."""
    claims = list(claims)
    dropped = {match.instead for _, match in claims}
    return sorted(((f, m) for f, m in claims if f.name not in dropped), key=lambda pair: -pair[1].score)
