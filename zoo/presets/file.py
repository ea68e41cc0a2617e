"""Presets and options as plain values: their files read as data, and what they extend merged beneath them.

Presets of zoo.conf are ours; any other is data from strangers and is checked before it is parsed. A defaults list may
name one family, presets that are extended and options of a group, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

from zoo.errors import ConfigError, UnknownName, ZooError, clean
from zoo.presets.fields import too_much
from zoo.presets.values import parsed
from zoo.registry import OURS, Preset
from zoo.registry.finding import no_such

MAX_FILES = 8  # that a preset and all it extends may be
MAX_ENTRIES = 10_000  # of those of strangers, one by one and in all

Presets = Mapping[str, Preset]  # presets by name, options by GROUP/NAME


@dataclass(frozen=True)
class Part:
    """What one file of those that make a preset says of the model."""

    preset: Preset
    values: dict[str, Any]


def resolve(name: str, presets: Presets, options: Callable[[], Presets] = dict) -> dict[str, Any]:
    """The values of the preset called `name`, those of the presets it extends included, and its `family`.

    Raises UnknownName for a preset that is not there, ZooError for one that is not a preset.
    """
    return merged(parts(name, presets, options))


def parts(name: str, presets: Presets, options: Callable[[], Presets] = dict) -> list[Part]:
    """What each file says that the preset called `name` is made of, in the order in which they are merged."""
    return _Reading(presets, options).read("model", name, ())


def option(key: str, options: Presets) -> tuple[str, dict[str, Any]]:
    """Where the option GROUP/NAME stands, as model.rope, and its values. Raises as `resolve` does."""
    group, _, name = key.partition("/")
    found = _Reading({}, lambda: options).read(group, name, ())
    return place_of(options[key], options), merged(found)


def merged(made_of: Iterable[Part]) -> dict[str, Any]:
    """The parts in one, the later over the earlier."""
    return reduce(merge, (part.values for part in made_of), {})


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` overridden by `new`; groups of fields are merged, anything else is replaced."""
    both = {k: merge(old[k], v) if isinstance(old.get(k), dict) and isinstance(v, dict) else v for k, v in new.items()}
    return {**old, **both}


def read(preset: Preset) -> dict[str, Any]:
    """What a preset's own file says. Raises ZooError, which names the file, for what is not a preset."""
    return _read(preset)[0]


def place_of(of: Preset, options: Presets) -> str:
    """Where an option's values stand: its group's own place, or for a group that zoo has not what its head says.

    Raises ZooError for a head that says another place: an option sets a part of the model and nothing else.
    """
    ours = (o for o in options.values() if o.group == of.group and o.package == OURS)
    own = next((_package(o) for o in ours), None) if of.package != OURS else None
    line, said = _package_at(of)
    if own and said in ("", own):
        return own
    if own or not re.fullmatch(r"model(\.[A-Za-z]\w*)*", said):
        expected = own or "model, or model.PART for a part of it"
        found = f"line {line}: @package {clean(said)}" if said else "it does not start with a package line"
        raise ZooError(f"{of.file}: {found}; expected # @package {expected}", hint=_hint(of))
    return said


def _hint(preset: Preset) -> str:
    """For a file in a user's folder, which belongs to no package: that there is a way to more."""
    return "" if preset.package else "in a folder that you wrote yourself --trust-config-dir allows all that Hydra does"


@dataclass
class _Reading:
    """The files that one preset or option is made of, as they are read: each once, and not too many."""

    presets: Presets
    list_options: Callable[[], Presets]  # called where a defaults list names one, which few do
    seen: set[str] = field(default_factory=set)
    entries: int = 0

    def read(self, group: str, name: str, above: tuple[Preset, ...]) -> list[Part]:
        """What one file says, and what its defaults list puts before and after."""
        where = f"{above[-1].file}: defaults: " if above else ""
        known = self.presets if group == "model" else self._options_of(group)
        if name not in known:
            raise UnknownName(where + no_such(name, group), name, known)
        preset = known[name]
        if preset in above:
            circle = " -> ".join(p.name for p in (*above, preset))
            raise ConfigError(f"{where}presets extend each other in a cycle: {circle}")
        self._once(f"{group}/{name}", where)
        own, count = _read(preset)
        self.entries += count
        if self.entries > MAX_ENTRIES:
            raise ZooError(f"{where}more than {MAX_ENTRIES} entries in all")
        defaults = own.pop("defaults", [])
        if not isinstance(defaults, list):
            raise ZooError(f"{preset.file}: its defaults are not a list")
        if defaults.count("_self_") > 1:
            raise ZooError(f"{preset.file}: defaults: _self_ is named twice")
        found = []
        for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
            found += [Part(preset, own)] if entry == "_self_" else self._entry(entry, preset, (*above, preset))
        return found

    def _entry(self, entry: Any, preset: Preset, above: tuple[Preset, ...]) -> list[Part]:
        """What an entry of a defaults list brings: `name`, `/model/name`, `/schema/FAMILY@_here_` or `/GROUP: name`."""
        group, name, package = _target(entry, preset)
        if group == "schema" and preset.group == "model" and package in ("", "_here_"):
            self._once("the family of a preset", f"{preset.file}: defaults: ")
            return [Part(preset, {"family": name})]
        if group == preset.group and package in ("", "_here_"):
            return self.read(group, name, above)
        if preset.group == "model" and group and self._options_of(group):
            found = self.read(group, name, above)
            place = place_of(self._options_of(group)[name], self.options)
            if package in ("", place.removeprefix("model.")):
                return [Part(part.preset, _below(place, part.values)) for part in found]
        what = f"{preset.file}: defaults: {clean(entry)} is neither /schema/FAMILY@_here_, another preset nor _self_"
        raise ZooError(what, hint=_hint(preset))

    @cached_property
    def options(self) -> Presets:
        return self.list_options()

    def _options_of(self, group: str) -> dict[str, Preset]:
        return {o.name: o for o in self.options.values() if o.group == group}

    def _once(self, key: str, where: str) -> None:
        if key in self.seen:
            raise ConfigError(f"{where}{clean(key)} is named twice, here or in a preset that it extends")
        self.seen.add(key)
        if len(self.seen) > MAX_FILES:
            raise ConfigError(f"{where}more than {MAX_FILES} presets extend each other")


def _read(preset: Preset) -> tuple[dict[str, Any], int]:
    """What a file says, and in how many entries: 0 for ours, which are not counted."""
    data = preset.data()
    if (known := parsed(preset, data)) is not None:
        return known, 0
    from zoo.presets.plain_yaml import check, load  # yaml, which takes long to import

    count = 0
    if preset.package != OURS:
        count = check(data, preset.file)
        line, said = _package_at(preset, data)
        if preset.group == "model" and said not in ("", "model"):
            raise ZooError(f"{preset.file}: line {line}: @package {clean(said)}; expected none", hint=_hint(preset))
    values = load(data, preset.file)
    if preset.package != OURS and (found := too_much(values)):
        raise ZooError(f"{preset.file}: {found}, which a preset may not have")
    return values, count


def _package_at(preset: Preset, data: bytes | None = None) -> tuple[int, str]:
    """The line and the package that a file's head names; empty where it names none."""
    from zoo.presets.plain_yaml import directives, text_of

    found = directives(text_of(preset.data() if data is None else data, preset.file))
    said = [(line, words.partition(" ")[2].strip()) for line, words in found if words.split()[0] == "@package"]
    if len(said) > 1:
        raise ZooError(f"{preset.file}: line {said[1][0]}: a second @package")
    return said[0] if said else (0, "")


def _package(preset: Preset) -> str:
    return _package_at(preset)[1]


def _target(entry: Any, preset: Preset) -> tuple[str, str, str]:
    """The group, name and package that an entry of a defaults list names; empty words for one that is none."""
    if isinstance(entry, dict) and len(entry) == 1:
        ((key, name),) = entry.items()
        group, _, package = key.partition("@")
        is_option = isinstance(name, str) and re.fullmatch(r"/\w+", group)
        return (group[1:], str(name), package) if is_option else ("", "", "")
    if not isinstance(entry, str):
        return "", "", ""
    path, _, package = entry.partition("@")
    if not path.startswith("/"):
        return preset.group, path, package
    group, _, name = path[1:].partition("/")
    return group, name, package


def _below(place: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values as they stand in a model, of which `place` is a part: {"rope": values} for model.rope."""
    for name in reversed(place.split(".")[1:]):
        values = {name: values}
    return values
