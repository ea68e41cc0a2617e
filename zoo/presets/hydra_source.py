"""Presets as Hydra is given them: a plain checked tree for each, whoever wrote the file, and never the folder itself.

What Hydra composes from a config source it obeys: packages, defaults lists, interpolations, its own settings. So only
zoo's own configs are on its search path; those of other packages and of a user's folder are read by zoo, and what
reaches Hydra are the fields of a model below `model`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from zoo.presets.catalogue import tree
from zoo.presets.file import option
from zoo.presets.users_folder import UsersFolder
from zoo.registry import OURS, Preset, installed

PRIMARY = f"pkg://{OURS}"

_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def serving(folder: Path | None) -> Iterator[None]:
    """Let Hydra find the presets and options of a user's folder too, as data."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


class Schemas(dict[str, Any]):
    """What Hydra keeps of our families: it copies all of it for each composition, and again what it then reads."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Schemas:
        return self


class ZooSearchPath(SearchPathPlugin):
    """Puts the plugins' presets on the search path of zoo's own commands, and of no other Hydra application."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if not any(entry.path == PRIMARY for entry in search_path.get_path()):
            return
        for package, distribution in installed().config_packages.items():
            if package != OURS:
                search_path.append(distribution, f"{CheckedPresets.scheme()}://{package}")
        if folder := _FOLDER.get():
            search_path.append("command-line", f"{CheckedPresets.scheme()}://{folder.absolute()}")


class CheckedPresets(ConfigSource):
    """The presets and options of one package or folder, each read and checked by zoo when Hydra asks for it."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)
        registry = installed()
        self._presets, self._options = registry.presets(), registry.options()
        if "/" in self.path or "\\" in self.path:
            folder = UsersFolder(Path(self.path))
            self._presets = folder.presets | self._presets
            self._options = folder.options | self._options
            mine = [*folder.presets.values(), *folder.options.values()]
        else:
            mine = [p for p in (*self._presets.values(), *self._options.values()) if p.package == self.path]
        self._mine: dict[str, Preset] = {f"{p.group}/{p.name}": p for p in mine if not p.problem}

    @staticmethod
    def scheme() -> str:
        return "zoo"

    def load_config(self, config_path: str) -> ConfigResult:
        key = config_path.removesuffix(".yaml")
        preset = self._mine[key]
        values: dict[str, Any]
        if preset.group == "model":
            values = tree(preset.name, self._presets | {preset.name: preset}, lambda: self._options)
            family = values.pop("family")
            place, values = "model", {"defaults": [f"/schema/{family}@_here_", "_self_"], **values}
        else:
            place, values = option(key, self._options | {key: preset})
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=OmegaConf.create(values),
            header={"package": place},
        )

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        path = config_path.strip("/")
        return not path or any(key.startswith(f"{path}/") for key in self._mine)

    def is_config(self, config_path: str) -> bool:
        return config_path.removesuffix(".yaml") in self._mine

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        path = config_path.strip("/")
        below = [key.removeprefix(f"{path}/") for key in self._mine if not path or key.startswith(f"{path}/")]
        groups = {rest.partition("/")[0] for rest in below if "/" in rest}
        configs = {rest for rest in below if "/" not in rest}
        wanted = {ObjectType.GROUP: groups, ObjectType.CONFIG: configs}
        return sorted(wanted[results_filter] if results_filter else groups | configs)
