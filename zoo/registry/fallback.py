"""The family of last resort: what none of the others claims is opened by transformers, where that is installed.

It is no plugin's, has no presets and is in no list: it stands for families that zoo does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.registry.family import Family
from zoo.registry.metadata import DISTRIBUTION
from zoo.registry.records import Plugin
from zoo.version import __version__

if TYPE_CHECKING:
    from zoo.weights.dialect import Match

HOME = "zoo.models.theirs"
FALLBACK = Family(
    name="transformers",
    config=f"{HOME}.config:TransformersConfig",
    model=f"{HOME}.model:ByTransformers",
    formats={"hf": f"{HOME}.hf:TRANSFORMERS"},
    summary="a family that zoo does not have, by transformers, opened strictly",
)
PROVIDER = Plugin(FALLBACK.name, DISTRIBUTION, __version__, state="built in")


def last_resort(raw: Mapping[str, Any], dialect: str, families: Mapping[str, Family]) -> list[tuple[Family, Match]]:
    """transformers' claim on what no family claims; of a kind near to one, that family says what zoo lacks for it."""
    kind = raw.get("model_type")
    if isinstance(kind, str) and any(kind in family.near for family in families.values()):
        return []
    return [(FALLBACK, match)] if (match := FALLBACK.match(raw, dialect)) else []
