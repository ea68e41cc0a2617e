"""Which modules an adapter's settings speak of: those of which the file must hold factors, and no others."""

from __future__ import annotations

import re
from collections.abc import Collection

from zoo.adapters.file.folder import AdapterFolder
from zoo.adapters.file.patterns import compiled, ends_with, layer_of
from zoo.adapters.file.settings import ALL_LINEAR, AdapterSettings
from zoo.adapters.fit.base import ForeignNames

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def is_asked_for(settings: AdapterSettings, module: str) -> bool:
    """Whether the settings name this module or parameter, in transformers' words."""
    if settings.parameters and ends_with(module, settings.parameters):
        return True
    excluded = settings.excluded
    if excluded and (
        compiled(excluded, settings.file, "exclude_modules").fullmatch(module)
        if isinstance(excluded, str)
        else ends_with(module, excluded)
    ):
        return False
    targets = settings.targets
    if isinstance(targets, str):
        return targets == ALL_LINEAR or bool(compiled(targets, settings.file, "target_modules").fullmatch(module))
    if not ends_with(module, targets):
        return False
    return module in targets or settings.layers is None or layer_of(module, settings.layer_lists) in settings.layers


def expected_modules(adapter: AdapterFolder, names: ForeignNames, placed: Collection[str]) -> list[str]:
    """Modules of the base, in the table's spelling, for which the settings promise factors.

    Of a weight that files hold in several ways (experts, each its own or stacked) the way that this file has.
    """
    kinds = _kinds(adapter, names)
    found: dict[str, None] = {}
    for step in names.steps:
        is_used = any(name in placed for name in step.theirs)
        is_other_way = not is_used and (len(step.theirs) > 1 or _has_other(names, step.ours[0], placed))
        if is_other_way:
            continue
        for name in step.theirs:
            module = name.removesuffix(".weight")
            if module == name or len(names.places[name][1]) != 2:
                continue
            word = _in_their_words(module, kinds, adapter.settings)
            if word and is_asked_for(adapter.settings, word):
                found[module] = None
    return [module for module in found if not ends_with(module, adapter.settings.saved)]


def _has_other(names: ForeignNames, ours: str, placed: Collection[str]) -> bool:
    """Whether factors were found for one of our weights in another way."""
    return any(any(n in placed for n in step.theirs) for step in names.ways.get(ours, ()))


def _kinds(adapter: AdapterFolder, names: ForeignNames) -> dict[str, str]:
    """Modules of the file by what they are called in the table, numbers left out: how transformers writes the kind."""
    spelt = {pair.module: names.spelt(f"{pair.module}.weight").removesuffix(".weight") for pair in adapter.pairs}
    return {_NUMBER.sub("#", ours): theirs for theirs, ours in spelt.items()}


def _in_their_words(module: str, kinds: dict[str, str], settings: AdapterSettings) -> str:
    """What transformers calls a module of the table: its kind in the file, with its own numbers.

    A kind that the file lacks goes by the table's name; nothing but a list of names asks for one.
    """
    kind = _NUMBER.sub("#", module)
    if kind not in kinds:
        return "" if isinstance(settings.targets, str) else module
    numbers = iter(_NUMBER.findall(module))
    return _NUMBER.sub(lambda found: next(numbers, found[0]), kinds[kind])
