"""The contract that every family is held to, ours or a third party's.

    from zoo.testing import check_family

    @pytest.mark.parametrize("check", check_family("mine"), ids=str)
    def test_contract(check):
        assert check.state != "fail", check

Each property is one `Check` of a group: registry, config, model, cache, weights, docs, parallel. What does not apply to
a model (an encoder has no cache) is skipped with the reason; nothing is left out in silence. `zoo check-plugin NAME`
prints them; zoo.testing.pytest_plugin makes a test of each.
"""

from __future__ import annotations

from collections.abc import Iterable

from zoo.anatomy.config import ModelConfig
from zoo.errors import UsageError, some
from zoo.registry import installed
from zoo.testing import (
    accelerated,
    attending,
    caching,
    configuration,
    documentation,
    heads,
    imports,
    modelling,
    positions,
    presets,
    registration,
    sharded,
    translation,
)
from zoo.testing.check import Broken, Check, Property, Skipped, judged
from zoo.testing.subject import Subject

PROPERTIES: dict[str, tuple[Property, ...]] = {
    "registry": registration.PROPERTIES + imports.PROPERTIES,
    "config": configuration.PROPERTIES + presets.PROPERTIES,
    "model": modelling.PROPERTIES + attending.PROPERTIES + positions.PROPERTIES + accelerated.PROPERTIES,
    "cache": caching.PROPERTIES + heads.PROPERTIES,
    "weights": translation.PROPERTIES,
    "docs": documentation.PROPERTIES,
    "parallel": sharded.PROPERTIES,
}
GROUPS = tuple(PROPERTIES)
NUMBERS = {prove: i for i, prove in enumerate((p for group in PROPERTIES.values() for p in group), 1)}

__all__ = ["GROUPS", "NUMBERS", "PROPERTIES", "Broken", "Check", "Skipped", "Subject", "check_family"]


def check_family(
    name: str, *, preset: str | None = None, config: ModelConfig | None = None, groups: Iterable[str] = GROUPS
) -> list[Check]:
    """Hold a registered family to the contract, with its `tiny()` config, a preset's or a given one.

    The model is built and run many times, so it must be small. Raises UnknownName for a family or preset that is not
    there and UsageError for a group that is not; everything else that goes wrong is a failed check.
    """
    groups = tuple(groups)
    if unknown := [group for group in groups if group not in PROPERTIES]:
        raise UsageError(f"no group of checks is called {unknown[0]!r}", why=f"known: {some(GROUPS, most=9)}")
    if preset is not None and config is None:
        from zoo.presets.composition import compose

        config = compose(preset)
    subject = Subject(installed()[name], config)
    return [judged(group, prove, subject, number=NUMBERS[prove]) for group in groups for prove in PROPERTIES[group]]
