"""What a folder of sentence-transformers says of its vectors: it goes along with the weights whole, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from warnings import warn

from zoo.errors import CheckpointError, ZooWarning, clean, some
from zoo.files.json_file import parse_json
from zoo.files.regular import own_file, read_bounded
from zoo.hub.listing import MODULE, MODULES, SENTENCES

LIST_BYTES = 1 << 20
PICKLE = ("pytorch_model.bin",)  # of the same weights, and not needed beside safetensors


def modules_beside(folder: Path) -> dict[str, bytes | Path]:
    """modules.json, the files that it names, and what says how texts are read; nothing where there is none.

    What cannot go along (a folder of another name, a module that is a pickle) leaves all of it behind, which is told.
    """
    if not (folder / MODULES).is_file():
        return {}
    names = [name for name in SENTENCES if (folder / name).is_file()]
    missing: list[str] = []
    try:
        for module in _listed(folder / MODULES):
            found = _files_of(folder, module)
            missing += [module] if found is None else []
            names += found or []
    except CheckpointError as error:
        missing = [str(error).partition("\n")[0]]
    if missing:
        what = f"{clean(some(missing), 200)}: cannot go along, so that nothing says how vectors are made"
        warn(f"{clean(folder / MODULES)}: {what}; give pooling (--pooling) for them", ZooWarning, stacklevel=2)
        return {}
    return {name: own_file(folder / name) for name in names}


def _files_of(folder: Path, module: str) -> list[str] | None:
    """The files of a module; None where not all of it can go along."""
    if (folder / module).is_symlink():
        return None
    wanted = ("config.json", "model.safetensors")
    there = {entry.name for entry in (folder / module).iterdir()}
    others = there.difference(wanted, PICKLE if wanted[1] in there else ())
    found = [f"{module}/{name}" for name in wanted if name in there]
    return None if others or not all(MODULE.fullmatch(name) for name in found) else found


def _listed(file: Path) -> list[str]:
    """The folders of the modules behind the model. Raises CheckpointError for a list that is none."""
    found: Any = parse_json(b'{"modules": ' + read_bounded(file, LIST_BYTES) + b"}", file)["modules"]
    entries = found if isinstance(found, list) else []
    paths = [path for entry in entries if isinstance(entry, dict) and isinstance(path := entry.get("path"), str)]
    if not paths or len(paths) < len(entries):
        raise CheckpointError(file, "", "is not a list of modules")
    if paths[0]:
        raise CheckpointError(file, "path", f"{clean(repr(paths[0]))}: the model lies in another folder")
    return [path for path in paths[1:] if (file.parent / path).is_dir()]
