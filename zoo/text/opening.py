"""The tokenizer of whatever people call a model by: no config is understood and no weight is looked at."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import CheckpointError
from zoo.text.tokenizer import Tokenizer


def open_tokenizer(source: str | Path) -> Tokenizer:
    """The tokenizer of a folder, a file in it, a GGUF file, a preset's name, org/name, hf://... or pkg://...

    Raises CheckpointError for a source without one, NetworkError for one of the hub that is not on this machine.
    """
    from zoo.hub.place import locate
    from zoo.presets.homes import home_of

    path = locate(home_of(source)).path
    if path.suffix == ".gguf":
        return _of_gguf(path)
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise CheckpointError(path, "", "is not there")
    ggufs = sorted(folder.glob("*.gguf"))
    has_config = any((folder / name).exists() for name in ("config.json", "tokenizer.json", "tokenizer_config.json"))
    if len(ggufs) == 1 and not has_config:  # such a folder is the file in it
        return _of_gguf(ggufs[0])
    return Tokenizer.from_folder(folder)


def _of_gguf(path: Path) -> Tokenizer:
    from zoo.files.gguf_file import read_gguf_metadata

    return Tokenizer.from_gguf(read_gguf_metadata(path), path)
