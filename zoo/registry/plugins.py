"""Finds the installed plugins and the families and presets they provide. One broken plugin harms only itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from pluggy import PluginManager

from zoo.errors import UnknownName, ZooError
from zoo.registry import hookspecs
from zoo.registry.family import Family

if TYPE_CHECKING:
    from zoo.weights.dialect import Match

GROUP = "zoo"
OURS = "zoo.conf"  # the package of our own presets; those of any other are data from strangers
DISTRIBUTION = "zoo-lm"


@dataclass
class Plugin:
    """An entry point, and what became of it."""

    name: str
    distribution: str
    version: str
    state: str = "loaded"  # built in | loaded | broken | refused | blocked
    reason: str = ""
    families: tuple[Family, ...] = ()
    config_packages: tuple[str, ...] = ()
    seconds: float = 0.0  # to import it and ask its hooks

    @property
    def id(self) -> str:
        return f"{self.distribution}:{self.name}"


@dataclass(frozen=True)
class Preset:
    """A named config in some plugin's conf/model folder."""

    name: str
    package: str
    file: Traversable
    plugin: str  # distribution that ships it

    def text(self) -> str:
        return self.file.read_text(encoding="utf-8")

    @property
    def description(self) -> str:
        """The comment on the file's first line."""
        first = self.text().partition("\n")[0]
        return first.removeprefix("#").strip() if first.startswith("#") else ""


@dataclass
class Registry:
    """Every plugin that entry points name, each loaded apart from the others.

    `points` and `blocked` replace what is read from the environment (ZOO_PLUGINS names the third-party plugins to
    load, empty for none; ZOO_BLOCK names plugins to leave out, as `-p no:NAME` does).
    """

    points: Iterable[EntryPoint] | None = None
    blocked: frozenset[str] | None = None
    plugins: list[Plugin] = field(default_factory=list)
    families: dict[str, Family] = field(default_factory=dict)
    origin: dict[str, Plugin] = field(default_factory=dict)  # family name -> the plugin that provides it

    def __post_init__(self) -> None:
        self.manager = PluginManager("zoo")
        self.manager.add_hookspecs(hookspecs)
        points = entry_points(group=GROUP) if self.points is None else self.points
        for point in sorted(points, key=_order):
            self.plugins.append(self._load(point))

    def __getitem__(self, name: str) -> Family:
        """The family called `name`; UnknownName says what is near, and repeats why a broken plugin is broken."""
        if name in self.families:
            return self.families[name]
        for plugin in self.plugins:
            if plugin.name == name and plugin.reason:
                raise ZooError(f"the plugin {name!r} of {plugin.distribution} is {plugin.state}", why=plugin.reason)
        raise UnknownName(f"no family is called {name!r}", name, self.families)

    def detect(self, raw: Mapping[str, Any], dialect: str = "hf") -> list[tuple[Family, Match]]:
        """The families that a foreign config may belong to, the surest first."""
        found = ((f, f.match(raw, dialect)) for f in self.families.values())
        return sorted(((f, m) for f, m in found if m), key=lambda pair: -pair[1].score)

    @property
    def config_packages(self) -> dict[str, str]:
        """Importable package of presets -> the distribution that ships it."""
        return {OURS: DISTRIBUTION} | {package: p.distribution for p in self.plugins for package in p.config_packages}

    def presets(self) -> dict[str, Preset]:
        """Every preset by name. The first package that names one keeps it; `preset_clashes` lists the others."""
        found: dict[str, Preset] = {}
        for preset in self._all_presets():
            found.setdefault(preset.name, preset)
        return dict(sorted(found.items()))

    def preset_clashes(self) -> list[tuple[Preset, Preset]]:
        """Pairs (kept, shadowed) of presets that share a name."""
        kept = self.presets()
        return [(kept[p.name], p) for p in self._all_presets() if kept[p.name].package != p.package]

    def _all_presets(self) -> Iterator[Preset]:
        for package, distribution in self.config_packages.items():
            try:
                root = files(package) / "model"
            except ModuleNotFoundError:
                continue  # `zoo plugins` reports it: see _load
            if root.is_dir():
                yield from (Preset(name, package, file, distribution) for name, file in _yaml_files(root))

    def _load(self, point: EntryPoint) -> Plugin:
        plugin = Plugin(point.name, *_identity(point.dist))
        is_built_in = plugin.distribution == DISTRIBUTION
        plugin.state = "built in" if is_built_in else "loaded"
        if reason := self._unwanted(plugin.name, is_built_in):
            plugin.state, plugin.reason = "blocked", reason
            return plugin
        start = time.perf_counter()
        # Whatever a third party's metadata holds or its code raises, sys.exit() included, the zoo lives on.
        try:
            if not is_built_in and (reason := _unmet_requirement(point)):
                plugin.state, plugin.reason = "refused", reason
                return plugin
            self._register(point, plugin)
        except (Exception, SystemExit) as error:
            if self.manager.has_plugin(plugin.id):
                self.manager.unregister(name=plugin.id)
            plugin.state, plugin.reason = "broken", f"{type(error).__name__}: {error}"
            plugin.families, plugin.config_packages = (), ()
        plugin.seconds = time.perf_counter() - start
        return plugin

    def _register(self, point: EntryPoint, plugin: Plugin) -> None:
        self.manager.register(point.load(), plugin.id)
        self.manager.check_pending()  # a misspelt hook is an error, not a silence
        families = tuple(f for f in self._ask("zoo_families", plugin))
        packages = tuple(p for p in self._ask("zoo_config_packages", plugin))
        if not families and not packages:
            raise ZooError("it implements neither zoo_families nor zoo_config_packages (is @zoo.hookimpl missing?)")
        for package in packages:
            files(package)
        for family in families:
            if not isinstance(family, Family):
                raise ZooError(f"zoo_families returned {family!r}, which is not a zoo.Family")
            if family.name in self.families:
                raise ZooError(f"the family name {family.name!r} is taken by {self.origin[family.name].id}")
        plugin.families, plugin.config_packages = families, packages
        for family in families:
            self.families[family.name], self.origin[family.name] = family, plugin

    def _ask(self, hook: str, plugin: Plugin) -> Iterator[Any]:
        for impl in getattr(self.manager.hook, hook).get_hookimpls():
            if impl.plugin_name == plugin.id:
                yield from impl.function()

    def _unwanted(self, name: str, is_built_in: bool) -> str:
        blocked = self.blocked if self.blocked is not None else frozenset(_words(os.environ.get("ZOO_BLOCK", "")))
        if name in blocked:
            return f"-p no:{name}"
        wanted = os.environ.get("ZOO_PLUGINS")
        if wanted is not None and not is_built_in and name not in _words(wanted):
            return f"ZOO_PLUGINS={wanted} leaves it out"
        return ""


@cache
def installed() -> Registry:
    """The registry of this process, made from metadata alone on first use."""
    return Registry()


def find_preset(name: str) -> Preset:
    """The preset called `name`. Raises UnknownName with the nearest."""
    presets = installed().presets()
    if name not in presets:
        raise UnknownName(f"no config {name!r} in group 'model'", name, presets)
    return presets[name]


@cache
def _identity(dist: Distribution | None) -> tuple[str, str]:
    """Name and version. Reading them parses the whole METADATA, so it is done once per distribution."""
    if dist is None:
        return "?", "?"
    metadata = dist.metadata
    return metadata["Name"] or "?", metadata["Version"] or "?"


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    name, _ = _identity(point.dist)
    return (name != DISTRIBUTION, name, point.name)  # our own first: a third party cannot take a built-in's name


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.split(",") if word.strip()}


def _yaml_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir() and not entry.name.startswith(("_", ".")):
            yield from _yaml_files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml"), entry


def _unmet_requirement(point: EntryPoint) -> str:
    """The sentence that refuses a plugin whose own requirement on zoo-lm does not hold; empty where it does."""
    from packaging.requirements import Requirement

    from zoo.version import __version__

    for line in (point.dist.requires or []) if point.dist else []:
        requirement = Requirement(line)
        if requirement.name.lower().replace("_", "-") != DISTRIBUTION:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(__version__, prereleases=True):
            return f"requires {DISTRIBUTION}{requirement.specifier}, this is {DISTRIBUTION} {__version__}"
    return ""
