"""The models that are compared, found by name: presets, presets with overrides, checkpoints, configs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.size import Size
from zoo.errors import UsageError, ZooError, clean
from zoo.presets.hub_ids import preset_of
from zoo.registry import installed

MAX_NAME = 60
FILES = (".gguf", ".safetensors", ".bin", ".pth")


@dataclass(frozen=True)
class ComparedModel:
    """One of the models that are compared; `size` is None where its family describes no anatomy."""

    name: str  # as it was asked for, safe to print
    config: ModelConfig
    size: Size | None
    description: str = ""

    @classmethod
    def of(cls, what: str | Path | ModelConfig) -> ComparedModel:
        """The subject that `what` names.

        A name of `zoo list`, overrides behind it ("llama3 model.num_kv_heads=4"), a folder, a file, org/name,
        hf://org/name@rev or pkg://package/path. Of a checkpoint the headers are read, and all of it must be accounted
        for. Raises ZooError, as `zoo.compose` and `zoo.inspect` do, for what is not there or not what it says.
        """
        if isinstance(what, ModelConfig):
            return cls._sized(what.family, what)
        if isinstance(what, Path) or is_path(what):
            return cls._sized(str(what), _of_checkpoint(what, ()))
        name, *overrides = words_of(what)
        name = preset_of(name)
        if name not in installed().presets() and ("/" in name or name.endswith(FILES) or Path(name).exists()):
            return cls._sized(what, _of_checkpoint(name, overrides))
        return cls._sized(what, _of_preset(name, overrides), _description(name))

    @classmethod
    def _sized(cls, name: str, config: ModelConfig, description: str = "") -> ComparedModel:
        try:
            size = Size.of(config)
        except ZooError:  # a family that is known by building it only
            size = None
        return cls(clean(name, MAX_NAME), config, size, clean(description, 200))


def distinct(subjects: Sequence[ComparedModel]) -> tuple[ComparedModel, ...]:
    """The same subjects, those that share a name numbered: gpt2, gpt2 (2)."""
    seen: dict[str, int] = {}
    out = []
    for s in subjects:
        seen[s.name] = number = seen.get(s.name, 0) + 1
        out.append(s if number == 1 else ComparedModel(f"{s.name} ({number})", s.config, s.size, s.description))
    return tuple(out)


def is_path(text: str) -> bool:
    """Whether all of it, spaces included, is a path; a preset's name is a preset even where a folder has that name."""
    return bool(text.strip()) and text not in installed().presets() and Path(text).exists()


def words_of(text: str) -> list[str]:
    """A model's name and the overrides behind it. Raises UsageError for quotes that do not close, and for no name."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError(f"cannot read {clean(text)!r}", why="it has a quote that is not closed") from None
    if not words:
        raise UsageError("a model has no name", hint="zoo list shows all names")
    return [words[0].removeprefix("model="), *words[1:]]


def _of_preset(name: str, overrides: Sequence[str]) -> ModelConfig:
    from zoo.presets import config

    preset = config(name)  # before Hydra sees a stranger's file
    if not overrides:
        return preset
    from zoo.presets.composition import compose

    return compose(name, *overrides)


def _of_checkpoint(source: str | Path, words: Sequence[str]) -> ModelConfig:
    from zoo.checkpoint.inspection import inspect
    from zoo.checkpoint.notes import tell

    families = [word.removeprefix("family=") for word in words if word.startswith("family=")]
    overrides = [word for word in words if not word.startswith("family=")]
    ledger = inspect(source, *overrides, family=families[0] if families else None)
    ledger.check()
    tell(ledger)
    return ledger.config


def _description(name: str) -> str:
    return installed().presets()[name].description if name in installed().presets() else ""
