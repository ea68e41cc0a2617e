"""A folder of the user's own presets as the options of a command: data, unless all of it is to be Hydra's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from zoo.errors import UsageError, clean

MOST = 3  # notes of one kind


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command -cd and --trust-config-dir."""
    for option in (
        click.option(
            "--trust-config-dir",
            is_flag=True,
            help="Give all of -cd FOLDER to Hydra, which can then run code: only for a folder that you wrote.",
        ),
        click.option(
            "-cd",
            "--config-dir",
            type=click.Path(exists=True, file_okay=False),
            help="A folder with your own presets; they can only set fields of a model.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class OwnPresets:
    """The folder, and whether all that Hydra does is allowed in it."""

    folder: Path | None
    is_trusted: bool

    @classmethod
    def of(cls, config_dir: str | None, trust_config_dir: bool) -> OwnPresets:
        """As the options say. Raises UsageError for trust without a folder."""
        if trust_config_dir and config_dir is None:
            raise UsageError("--trust-config-dir needs a folder", hint="name it: -cd FOLDER")
        return cls(Path(config_dir) if config_dir else None, trust_config_dir)

    @property
    def names(self) -> frozenset[str]:
        """What its presets are called."""
        from zoo.presets.users_folder import UsersFolder

        return frozenset(UsersFolder(self.folder).presets) if self.folder else frozenset()

    @property
    def flags(self) -> list[str]:
        """What Hydra is told of it."""
        return [f"--config-dir={self.folder}"] if self.is_trusted else []

    def expanded(self, command: str, words: Sequence[str], *, needs_model: bool = False) -> list[str]:
        """The words as Hydra is to read them, what they choose of strangers' files checked. Raises ZooError."""
        from zoo.presets.overrides import expand, grammar, vet

        known = grammar(command, folder=None if self.is_trusted else self.folder)
        if self.is_trusted and self.folder:
            names = [
                entry.name for entry in self.folder.iterdir() if entry.is_dir() and entry.name not in ("model", "hydra")
            ]
            known = replace(known, groups={**dict.fromkeys(names, ()), **known.groups})
        expanded = expand(words, known, needs_model=needs_model)
        vet(expanded, None if self.is_trusted else self.folder)
        return expanded

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let Hydra find them."""
        from zoo.presets.hydra_source import serving

        with serving(None if self.is_trusted else self.folder):
            yield

    def tell(self) -> None:
        """Note which of them are hidden by an installed one, and what of the folder is not read."""
        from zoo.cli import output
        from zoo.presets.mistakes import hidden_preset
        from zoo.presets.users_folder import UsersFolder
        from zoo.registry import installed

        presets = installed().presets()
        for kept, hidden in installed().preset_clashes():
            output.note(f"note: {hidden_preset(kept.name, kept.plugin, hidden.plugin)}")
        if self.folder is None:
            return
        own = UsersFolder(self.folder)
        told = [hidden_preset(n, presets[n].plugin, str(self.folder)) for n in own.presets if n in presets][:MOST]
        if not self.is_trusted:
            options = installed().options()
            told += [
                f"the option {n} of {self.folder} is hidden by the one of {options[n].plugin}"
                for n in own.options
                if n in options
            ][:MOST]
            told += [f"{p.file}: {p.problem}" for p in own.presets.values() if p.problem][:MOST]
            told += own.unread()[:MOST]
        for sentence in told:
            output.note(f"note: {clean(sentence, 300)}")
