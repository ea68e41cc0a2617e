"""A folder of one's own presets, given with -cd: its presets and options by name, as a package's are."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from zoo.registry import Preset
from zoo.registry.preset_folder import FolderEntry, options_in, presets_in, unread_in


class UsersFolder:
    """What lies in a folder of presets, none of it opened yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def presets(self) -> dict[str, Preset]:
        """Its presets by name."""
        return {e.name: self._preset(e) for e in presets_in(self.path, is_package=False)}

    @cached_property
    def options(self) -> dict[str, Preset]:
        """Its options as GROUP/NAME."""
        return {f"{e.group}/{e.name}": self._preset(e) for e in options_in(self.path, is_package=False)}

    def unread(self) -> list[str]:
        """A sentence for each thing in it that is not read."""
        return list(unread_in(self.path))

    def _preset(self, entry: FolderEntry) -> Preset:
        return Preset(entry.name, "", entry.file, str(self.path), entry.group, entry.problem)
