"""The presets and options that plugins ship: a registry as a shelf of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from zoo.errors import ZooError
from zoo.files.resources import files
from zoo.registry.isolation import reason_of
from zoo.registry.metadata import DISTRIBUTION, GROUP
from zoo.registry.preset_folder import FolderEntry, options_in, presets_in
from zoo.registry.records import Plugin, Preset

OURS = "zoo.conf"  # the package of our own presets; those of any other are data from strangers


class Shelf:
    """Presets by name, of whoever ships them."""

    plugins: list[Plugin]

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

    def options(self) -> dict[str, Preset]:
        """Every option of the groups beside `model` as GROUP/NAME, the first package's where several have one."""
        found: dict[str, Preset] = {}
        for option in self._entries(options_in):
            found.setdefault(f"{option.group}/{option.name}", option)
        return found

    def _all_presets(self) -> Iterator[Preset]:
        return self._entries(presets_in)

    def _entries(self, listed: Callable[..., list[FolderEntry]]) -> Iterator[Preset]:
        for package, distribution in self.config_packages.items():
            try:
                entries = _ours(listed) if package == OURS else listed(files(package), is_package=True)
            except (ModuleNotFoundError, OSError) as error:
                for plugin in [p for p in self.plugins if package in p.config_packages]:
                    self._give_up(plugin, f"{package}: {reason_of(error)}")
                continue
            yield from (Preset(e.name, package, e.file, distribution, e.group, e.problem) for e in entries)

    def _check_package(self, package: object, plugin: Plugin) -> None:
        """Refuse what is no package of presets, and one that another brings: theirs would be read as this one's."""
        if not isinstance(package, str):
            raise ZooError(f"zoo_config_packages returned {package!r}, which is not the name of a package")
        if package in self.config_packages:
            raise ZooError(f"the package {package!r} is that of {self.config_packages[package]}")
        if plugin.distribution != DISTRIBUTION and package.partition(".")[0] == GROUP:
            raise ZooError(f"the package {package!r} does not belong to it")
        files(package)

    def _give_up(self, plugin: Plugin, reason: str) -> None:
        """Leave out from now on what a plugin provides."""
        raise NotImplementedError


@cache
def _ours(listed: Callable[..., list[FolderEntry]]) -> list[FolderEntry]:
    """What we ship does not change while we run, and is asked for several times by one command."""
    return listed(files(OURS), is_package=True)
