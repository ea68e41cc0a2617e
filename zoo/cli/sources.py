"""Words of a command line in which one may stand for weights: a folder, a file, a name."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from zoo.errors import UsageError


def sourced(command: str, words: Sequence[str], keys: Collection[str], own: Collection[str] = ()) -> list[str]:
    """The words with the one that stands for weights as `source=...`; `keys` are those that are not the model's.

    `own` are the names of the user's presets. Raises UsageError where no model is named, or two.
    """
    from zoo.measurement.speed.benchmark import is_source
    from zoo.presets.homes import tell_preset

    # A folder at home that the shell left as it was: ~KEY, without a slash, takes something away.
    words = [os.path.expanduser(word) if word.startswith("~/") else word for word in words]
    bare = [word for word in words if ("=" not in word and not word.startswith("~")) or _is_path(word)]
    named = [word.removeprefix("model=") for word in words if word.startswith("model=")] + bare
    if not named and not any(word.startswith("source=") for word in words):
        raise UsageError("which model?", hint=f"type a folder, a file or a name, for example: zoo {command} tiny")
    if len(bare) > 1:
        raise UsageError(f"two models: {' and '.join(bare)}", hint=f"to run both: -m source={','.join(bare)}")
    if not bare:
        return list(words)
    shaping = [word for word in words if word not in bare and head(word) not in {"hydra", *keys}]
    models = bare[0].split(",") if not Path(bare[0]).exists() else [bare[0]]
    have_weights = [model not in own and is_source(model, shaping) for model in models]
    for model, has in zip(models, have_weights, strict=True):
        if not has and model not in own:
            tell_preset(model)
    if not any(have_weights):
        return list(words)
    if not all(have_weights):
        raise UsageError(f"{bare[0]} contains both checkpoints and presets", hint="run them one after the other")
    if shaping:
        raise UsageError(f"{bare[0]}: {shaping[0]} is for a preset, but this is a checkpoint", hint="see: zoo list")
    return [f"source={','.join(map(quoted, models))}" if word == bare[0] else word for word in words]


def _is_path(word: str) -> bool:
    """Whether a word with an equals sign is no KEY=VALUE: ./lr=0.1/model, where there is such a file or folder."""
    return "/" in word.partition("=")[0] and Path(word).exists()


def head(word: str) -> str:
    """The first part of a word's key: `train` of train.steps=3."""
    return re.split(r"[.@/\[=]", word.lstrip("+~"), maxsplit=1)[0]


def quoted(source: str) -> str:
    """A path with whatever it may hold, as Hydra reads it."""
    if re.fullmatch(r"[\w./:@-]*[A-Za-z/][\w./:@-]*", source):
        return source
    escaped = source.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
