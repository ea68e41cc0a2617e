"""A folder or file of weights: what it is, and what its headers say, before any tensor is read. Needs no torch.

A folder is, in this order:

  config.json with a key `zoo`            our own format (dialect zoo)
  config.json                             Hugging Face's (hf)
  params.json and consolidated.NN.pth     Meta's (meta); shard 0's slice of `x` is called `x#00`, and so on
  one .gguf file, or one model in parts   llama.cpp's (gguf)

Weights beside a config.json are model.safetensors, or what model.safetensors.index.json names; else, with consent,
pytorch_model.bin or what its index names; else the shards that the .metadata of torch.distributed.checkpoint names. A
folder with both a single file and an index that does not name it holds two checkpoints: zoo asks which. Where there is
none of these, the only file that may be the weights is taken, and told. The path of a weight file, of an index or of
.metadata picks it, with the config of its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.files.dcp.folder import SUFFIX, is_distributed, opener_of, read_folder
from zoo.files.dcp.metadata import METADATA
from zoo.files.folders import absent, beside, no_checkpoint, odd_weights, present, several
from zoo.files.found import Checkpoint, found_in
from zoo.files.gguf.parts import chosen_of, read_gguf
from zoo.files.json_file import read_json
from zoo.files.meta_folder import PARTS, open_parts, read_parts
from zoo.files.openers import open_packed, open_quantised, open_stored
from zoo.files.packed import recognise
from zoo.files.pickle_file import PICKLES, read_pickle, refuse_pickle
from zoo.files.regular import size_of, unreadable
from zoo.files.safetensors_file import read_header
from zoo.files.shards import INDEX, PICKLE, PICKLE_INDEX, SINGLE, read_index, read_shards, wrong_size
from zoo.files.tensor_info import TensorInfo

Config = Path | Mapping[str, Any]


def open_checkpoint(path: str | Path, *, allow_pickle: bool = False, config: Config | None = None) -> Checkpoint:
    """Read the headers of a folder or file. Raises CheckpointError for one that is not a whole checkpoint.

    Without `allow_pickle` no pickle is opened but .metadata; with it, none is run. The `config` is for a folder of
    torch.distributed.checkpoint that has none, or another.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
        names = {entry.name for entry in path.iterdir()} if is_folder else {path.name}
    except (OSError, ValueError) as error:
        raise CheckpointError(path, "", unreadable(error)) from None
    if METADATA in names and (not is_folder or is_distributed(path, names)):
        return _open_distributed(path, config)
    if is_folder and any(name.endswith(SUFFIX) for name in names) and not names & {SINGLE, INDEX, PICKLE, PICKLE_INDEX}:
        why = "torch writes it last: the save did not end, or the file was not copied"
        raise CheckpointError(path, "", f"has shards (*{SUFFIX}) and no {METADATA}", why=why)
    if config is not None:
        what = "is not a folder of torch.distributed.checkpoint, and config= is for those"
        raise CheckpointError(path, "", what, hint="leave config= out: other checkpoints say what they are")
    if not is_folder:
        return _open_file(path, allow_pickle)
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if "config.json" in names:
        weights = _weights(path, names)
        found = _beside_config(path, weights, allow_pickle)
        return replace(found, notes=(*found.notes, *beside(weights, names)))
    if "params.json" in names and any(PARTS.fullmatch(name) for name in names):
        return _open_meta(path, allow_pickle)
    if ggufs and (chosen := chosen_of(path, ggufs)):
        return _open_gguf(path, chosen)
    if ggufs:
        hint = f"name the one that you want: {path / ggufs[0]}"
        raise CheckpointError(path, "", f"holds {len(ggufs)} GGUF files and no config.json", hint=hint)
    raise no_checkpoint(path, names, "has no config.json", why=present(names) or _LOOKED_FOR)


_LOOKED_FOR = f"looked for {SINGLE}, {INDEX}, {PICKLE}, {PICKLE_INDEX}, params.json with consolidated.*.pth, and *.gguf"


def _open_file(path: Path, allow_pickle: bool) -> Checkpoint:
    if not path.exists() and not path.is_symlink():
        raise absent(path)
    if path.suffix == ".gguf":
        return _open_gguf(path, path)
    if PARTS.fullmatch(path.name):
        hint = f"name the folder: {path.parent}"
        raise CheckpointError(path, "", "is one of the parts of a checkpoint in Meta's format", hint=hint)
    if path.name.endswith((".safetensors", ".safetensors.index.json", *PICKLES, ".bin.index.json")):
        return _beside_config(path, path, allow_pickle)
    why = "zoo reads folders, and files that end in .safetensors, .gguf, .index.json, or .bin, .pth, .pt, .ckpt"
    raise CheckpointError(path, "", "is not the name of a checkpoint", why=why)


def _weights(folder: Path, names: set[str]) -> Path:
    """The file, single or index, that the folder's weights are read from."""
    for single, index in ((SINGLE, INDEX), (PICKLE, PICKLE_INDEX)):
        if single in names and index in names and single not in read_index(folder / index).values():
            hint = f"name the one that you want: {folder / single} or {folder / index}"
            raise CheckpointError(folder, "", f"holds two checkpoints, {single} and {index}", hint=hint)
        if found := [name for name in (index, single) if name in names]:
            return folder / found[0]
    odd = odd_weights(names)
    if len(odd) > 1:
        raise several(folder, odd)
    if odd:
        return folder / odd[0]
    raise no_checkpoint(folder, names, "has no weights that zoo can read", why=present(names) or _LOOKED_FOR)


def _beside_config(path: Path, weights: Path, allow_pickle: bool) -> Checkpoint:
    size_of(weights)
    is_pickle = weights.name.endswith((*PICKLES, ".bin.index.json"))
    if is_pickle and not allow_pickle:
        raise refuse_pickle(weights)
    config_file = weights.parent / "config.json"
    config = read_json(config_file)
    undone: list[str] = []

    def read(file: Path) -> Mapping[str, TensorInfo]:
        if not is_pickle:
            return read_header(file).tensors
        tensors, told = read_pickle(file)
        undone.extend(told)
        return tensors

    is_index = weights.suffix == ".json"
    stored = read_shards(weights, read) if is_index else dict(read(weights))
    notes = wrong_size(weights, stored) if is_index else ()
    packing = recognise(config, config_file, stored)
    opener = partial(open_stored, stored, is_pickle)  # no closure: a model with its ledger is pickled
    dialect = "zoo" if "zoo" in config else "hf"
    if packing is None:
        found = found_in(path, dialect, config_file, config, stored, opener, notes)
        return replace(found, undone=tuple(undone))
    shown = packing.shown(stored)
    found = found_in(path, dialect, config_file, config, shown, partial(open_packed, opener, shown, packing), notes)
    files = tuple(dict.fromkeys(info.file for info in stored.values()))
    return replace(found, undone=tuple(undone), files=files, packing=packing, _open_raw=opener)


def _open_meta(folder: Path, allow_pickle: bool) -> Checkpoint:
    tensors, undone = read_parts(folder, allow_pickle=allow_pickle)
    file = folder / "params.json"
    found = found_in(folder, "meta", file, read_json(file), tensors, partial(open_parts, tensors))
    return replace(found, undone=undone)


def _open_distributed(path: Path, given: Config | None) -> Checkpoint:
    folder = path if path.is_dir() else path.parent
    found, beside = read_folder(folder), folder / "config.json"
    if given is None and not beside.exists():
        what, hint = "has no config.json", "put that of the model beside it, or name it: config=FILE or config=PRESET"
        raise CheckpointError(folder, "", what, why=f"{METADATA} says nothing of the model", hint=hint)
    file = given if isinstance(given, Path) else folder / METADATA if given else beside
    file = file / "config.json" if file.is_dir() else file
    config = dict(given) if isinstance(given, Mapping) else read_json(file)
    told = ("the config is the one that was given, not that beside the weights",) if given and beside.exists() else ()
    made = found_in(path, "zoo" if "zoo" in config else "hf", file, config, found.tensors, opener_of(found))
    return replace(made, files=found.files, undone=(*found.told, *told))


def _open_gguf(path: Path, file: Path) -> Checkpoint:
    (config, tensors), parts = read_gguf(file)
    return found_in(path, "gguf", parts[0], config, tensors, partial(open_quantised, tensors))
