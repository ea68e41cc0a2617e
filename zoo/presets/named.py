"""A model as people type it: a name or a path, and behind it overrides, its family, and how its weights are rounded."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.anatomy.quantisation import quantisation
from zoo.errors import UsageError, WrongType, clean
from zoo.registry import installed

FILES = (".gguf", ".safetensors", ".bin", ".pth")  # how the name of a checkpoint's file may end


@dataclass(frozen=True)
class NamedModel:
    """The words of one model: `./folder family=llama model.num_layers=2 quantize=int8`."""

    name: str
    overrides: tuple[str, ...] = ()
    family: str | None = None
    quantize: str | None = None  # to what the matrices of its layers are rounded; None: they are as they are
    adapter: str | None = None  # a folder of peft that stands beside its weights


def named(what: str | Path) -> NamedModel:
    """What a model is called, and the words behind it; all of a path that is there is the name.

    Raises UsageError for quotes that do not close and for no name, UnknownName for a rounding that there is not.
    """
    if not isinstance(what, str | Path):
        hint = "zoo.verify(model, against=...) compares models that are there" if hasattr(what, "forward") else ""
        raise WrongType("the model", what, "a name or a path of one", hint=hint)
    if isinstance(what, Path) or is_path(what):
        return NamedModel(str(what))
    name, *words = words_of(what)
    families = [word.removeprefix("family=") for word in words if word.startswith("family=")]
    adapters = [word.removeprefix("adapter=") for word in words if word.startswith("adapter=")]
    others = tuple(word for word in words if not word.startswith(("family=", "quantize=", "adapter=")))
    family, adapter = (found[0] if found else None for found in (families, adapters))
    return NamedModel(name, others, family, rounding_of(words), adapter)


def rounding_of(words: Sequence[str]) -> str | None:
    """To what the matrices of the layers are rounded, if a word says so: the last one that does."""
    said = [word.removeprefix("quantize=") for word in words if word.startswith("quantize=")]
    return None if not said or said[-1] == "null" else quantisation(said[-1]).name


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
