"""Finds the installed plugins and the families and presets they provide. One broken plugin harms only itself."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import UnknownName, ZooError, ZooWarning, clean, some
from zoo.registry import hookspecs
from zoo.registry.additions import Command, Format, check_additions
from zoo.registry.claims import checked_match, ranked
from zoo.registry.fallback import FALLBACK, PROVIDER, last_resort
from zoo.registry.family import OURS, Family
from zoo.registry.hooks import HookManager
from zoo.registry.isolation import isolated, reason_of
from zoo.registry.metadata import DISTRIBUTION, GROUP, entry_points_of, identity, loading_order, unmet_requirement
from zoo.registry.records import Plugin
from zoo.registry.shelf import Shelf

if TYPE_CHECKING:
    from zoo.registry.metadata import AnyPoint
    from zoo.weights.dialect import Match


MAX_ANSWERS = 10_000  # families, or packages of presets, of one plugin
T = TypeVar("T")


@dataclass
class Registry(Shelf):
    """Every plugin that entry points name, each loaded apart from the others.

    `points` and `blocked` replace what is read from the environment (ZOO_PLUGINS names the third-party plugins to
    load, empty for none; ZOO_BLOCK names plugins to leave out, as `-p no:NAME` does).
    """

    points: Iterable[AnyPoint] | None = None
    blocked: frozenset[str] | None = None
    plugins: list[Plugin] = field(default_factory=list)
    families: dict[str, Family] = field(default_factory=dict)
    origin: dict[str, Plugin] = field(default_factory=dict)  # family name -> the plugin that provides it

    def __post_init__(self) -> None:
        self.manager = HookManager("zoo")
        self.manager.add_hookspecs(hookspecs)
        points, unreadable = entry_points_of(GROUP) if self.points is None else (self.points, {})
        for where, reason in unreadable.items():
            self.plugins.append(Plugin("?", where, "?", state="broken", reason=reason))
        for point in sorted(points, key=loading_order):
            self.plugins.append(self._load(point))
        for plugin in self.plugins:
            self._add_formats(plugin)
        self.origin[FALLBACK.name] = PROVIDER

    def __getitem__(self, name: str) -> Family:
        """The family called `name`; UnknownName says what is near, and repeats why a broken plugin is broken."""
        if found := self.families.get(name, FALLBACK if name == FALLBACK.name else None):
            return found
        for plugin in self.plugins:
            if plugin.reason and name in (plugin.name, *plugin.lost):
                what = f"the plugin {plugin.name!r} of {plugin.distribution} is {plugin.state}"
                raise ZooError(what, why=plugin.reason)
        raise UnknownName(f"no family is called {name!r}{self.not_loaded}", name, self.families)

    @property
    def not_loaded(self) -> str:
        """What is said behind a name that is not known, for it may be of a plugin that is not loaded."""
        names = [clean(plugin.name) for plugin in self.plugins if plugin.state not in ("built in", "loaded")]
        return f" (plugins that are not loaded: {some(names)}; see zoo plugins)" if names else ""

    def detect(self, raw: Mapping[str, Any], dialect: str = "hf") -> list[tuple[Family, Match]]:
        """The families that a foreign config may belong to, the surest first; what none claims, transformers may."""
        found = self.each(lambda family: checked_match(family.match(raw, dialect), family))
        claims = [(family, match) for family, match in found if match]
        return ranked(claims) or last_resort(raw, dialect, self.families)

    def each(self, ask: Callable[[Family], T]) -> Iterator[tuple[Family, T]]:
        """What `ask` finds of every family; a stranger whose code ends otherwise is broken from then on."""
        for family in [*self.families.values()]:
            if family.name not in self.families:
                continue  # another of the same plugin was found broken
            plugin = self.origin[family.name]
            if plugin.state == "built in":
                yield family, ask(family)
                continue
            try:
                with isolated(family.name):
                    answer = ask(family)
            except ZooError as error:
                self._give_up(plugin, error.what)
                continue
            yield family, answer

    def try_out(self) -> None:
        """Import what strangers' families name for configs and formats: what does not work is broken from then on."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZooWarning)  # the caller tells of all of them
            for _ in self.each(lambda family: (family.config_class, [*map(family.dialect, family.formats)])):
                pass

    def _give_up(self, plugin: Plugin, reason: str) -> None:
        """Leave out from now on what a plugin provides, and say so: it was thought to work."""
        plugin.state, plugin.reason = "broken", reason
        plugin.lost = tuple(family.name for family in plugin.families)
        for name in plugin.lost:
            self.families.pop(name, None)
        plugin.families, plugin.config_packages = (), ()
        warnings.warn(f"the plugin {plugin.name!r} of {plugin.distribution} is broken: {reason}", ZooWarning, 2)

    def _load(self, point: AnyPoint) -> Plugin:
        plugin = Plugin(point.name, *identity(point.dist))
        is_built_in = plugin.distribution == DISTRIBUTION
        plugin.state = "built in" if is_built_in else "loaded"
        if reason := self._unwanted(plugin.name, is_built_in):
            plugin.state, plugin.reason = "blocked", reason
            return plugin
        start = time.perf_counter()
        # Whatever a third party's metadata holds or its code raises, sys.exit() included, the zoo lives on.
        try:
            if not is_built_in and (reason := unmet_requirement(point)):
                plugin.state, plugin.reason = "refused", reason
                return plugin
            with nullcontext() if is_built_in else isolated(""):
                self._register(point, plugin)
        except Exception as error:
            if self.manager.has_plugin(plugin.id):
                self.manager.unregister(name=plugin.id)
            plugin.state = "broken"
            plugin.reason = error.what if isinstance(error, ZooError) else reason_of(error)
            plugin.families, plugin.config_packages, plugin.formats, plugin.commands = (), (), (), ()
        plugin.seconds = time.perf_counter() - start
        return plugin

    def _register(self, point: AnyPoint, plugin: Plugin) -> None:
        self.manager.register(point.load(), plugin.id)
        self.manager.check_pending()  # a misspelt hook is an error, not a silence
        families, packages = self._ask("zoo_families", plugin), self._ask("zoo_config_packages", plugin)
        formats, commands = self._ask("zoo_formats", plugin), self._ask("zoo_commands", plugin)
        if not (families or packages or formats or commands):
            raise ZooError("it implements no hook, as zoo_families or zoo_config_packages (is @zoo.hookimpl missing?)")
        for package in packages:
            self._check_package(package, plugin)
        for family in families:
            if not isinstance(family, Family):
                raise ZooError(f"zoo_families returned {family!r}, which is not a zoo.Family")
            if problem := family.problem():
                raise ZooError(problem)
            if family.name in self.families:
                raise ZooError(f"the family name {family.name!r} is taken by {self.origin[family.name].id}")
        if twice := [name for name, count in Counter(f.name for f in families).items() if count > 1]:
            raise ZooError(f"zoo_families returned {twice[0]!r} twice")
        check_additions("zoo_formats", formats, Format)
        check_additions("zoo_commands", commands, Command)
        if taken := [c.name for c in commands for p in self.plugins if c.name in [other.name for other in p.commands]]:
            raise ZooError(f"the command {taken[0]!r} is taken by another plugin")
        plugin.families, plugin.config_packages = families, packages
        plugin.formats, plugin.commands = formats, commands
        for family in families:
            self.families[family.name], self.origin[family.name] = family, plugin

    def _add_formats(self, plugin: Plugin) -> None:
        """Give families the formats that a plugin brings for them, once all families are known."""
        for added in plugin.formats:
            family = self.families.get(added.family)
            if family is None or added.name in (*OURS, *family.formats):
                what = "no family is called" if family is None else f"{added.name!r} exists already, of"
                plugin.state, plugin.reason = "broken", f"the format {added.name!r}: {what} {added.family!r}"
                return
            formats = {**family.formats, added.name: added.dialect}
            self.families[family.name] = replace(family, formats=formats)

    def _ask(self, hook: str, plugin: Plugin) -> tuple[Any, ...]:
        """What a plugin's hook returns. Raises ZooError for what is not a list, or does not end."""
        found: list[Any] = []
        for impl in getattr(self.manager.hook, hook).get_hookimpls():
            if impl.plugin_name == plugin.id:
                answer = impl.function()
                if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Iterable):
                    raise ZooError(f"{hook} returned {answer!r}, which is not a list")
                found += islice(answer, MAX_ANSWERS + 1)
        if len(found) > MAX_ANSWERS:
            raise ZooError(f"{hook} returned more than {MAX_ANSWERS:,} items")
        return tuple(found)

    def _unwanted(self, name: str, is_built_in: bool) -> str:
        blocked = self.blocked if self.blocked is not None else frozenset(_words(os.environ.get("ZOO_BLOCK", "")))
        if name in blocked:
            return f"-p no:{name}"
        wanted = os.environ.get("ZOO_PLUGINS")
        if wanted is not None and not is_built_in and name not in _words(wanted):
            return f"ZOO_PLUGINS={wanted} excludes it"
        return ""


@cache
def installed() -> Registry:
    """The registry of this process, made from metadata alone on first use."""
    return Registry()


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.split(",") if word.strip()}
