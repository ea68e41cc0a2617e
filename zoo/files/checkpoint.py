"""A folder or file of weights: what it is, and what its headers say, before any tensor is read. Needs no torch.

A folder is, in this order:

  config.json with a key `zoo`            our own format (dialect zoo)
  config.json                             Hugging Face's (hf)
  params.json and consolidated.NN.pth     Meta's (meta); shard 0's slice of `x` is called `x#00`, and so on
  one .gguf file, or one model in parts   llama.cpp's (gguf)

Weights beside a config.json are model.safetensors, or what model.safetensors.index.json names; else, with consent,
pytorch_model.bin or what its index names. A folder with both a single file and an index that does not name it holds two
checkpoints: zoo asks which. Where there is none of these, the only file that may be the weights is taken, and told. The
path of a weight file or of an index picks it, with the config of its folder.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.files.folders import absent, beside, no_checkpoint, odd_weights, present, several
from zoo.files.gguf.parts import chosen_of, read_gguf
from zoo.files.gguf_file import read_gguf_metadata
from zoo.files.json_file import read_json
from zoo.files.meta_folder import PARTS, open_parts, read_parts
from zoo.files.open_tensors import OpenTensors
from zoo.files.openers import open_packed, open_quantised, open_stored
from zoo.files.packed import Packing, recognise
from zoo.files.pickle_file import PICKLES, read_pickle, refuse_pickle
from zoo.files.regular import sha256_of, size_of, unreadable
from zoo.files.safetensors_file import read_header
from zoo.files.shards import INDEX, PICKLE, PICKLE_INDEX, SINGLE, read_index, read_shards, wrong_size
from zoo.files.tensor_info import TensorInfo


@dataclass(frozen=True)
class Checkpoint:
    """Where weights are, in whose dialect, with the foreign config and every tensor's type, shape and place."""

    path: Path
    dialect: str  # hf | zoo | meta | gguf
    config: dict[str, Any]  # config.json, params.json, or the metadata of a GGUF file without its vocabulary
    tensors: dict[str, TensorInfo]  # as `open` gives them, but for quantised GGUF, which it gives as float32
    files: tuple[Path, ...]  # of weights
    config_file: Path
    _open: Callable[[], OpenTensors] = field(repr=False)
    notes: tuple[str, ...] = ()  # what is odd about the files
    undone: tuple[str, ...] = ()  # what was done to them to find the model, to be told wherever its weights go
    packing: Packing | None = None  # of weights that `tensors` shows unpacked
    _open_raw: Callable[[], OpenTensors] | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where tokenizer files lie."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def config_name(self) -> str:
        """What messages about the config call it."""
        return self.config_file.name

    @property
    def spare(self) -> frozenset[str]:
        """Tensors that a model may lack if they are all 0."""
        return self.packing.spare if self.packing else frozenset()

    def open(self) -> OpenTensors:
        """The tensors, read when asked for and not copied where the file has them as they are. Imports torch."""
        return self._open()

    def open_parts(self) -> OpenTensors:
        """The tensors by the names that they have in the files, packed weights as the parts that they lie in."""
        return (self._open_raw or self._open)()

    def raw_bytes(self, name: str) -> memoryview:
        """The bytes of one tensor as they lie in the file. Raises CheckpointError for one that is computed."""
        info = self.tensors[name]
        if info.offset is None:
            raise CheckpointError(info.file, name, "is not stored in the file in the order of its shape")
        if not info.nbytes:
            return memoryview(b"")
        try:
            with info.file.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CheckpointError(info.file, "", unreadable(error)) from None
        return memoryview(mapped)[info.offset : info.offset + info.nbytes]

    def metadata(self) -> dict[str, Any]:
        """The config and, for a GGUF file, the vocabulary and all else that `config` leaves out for its length."""
        return read_gguf_metadata(self.config_file) if self.dialect == "gguf" else self.config

    def hashes(self) -> dict[str, str]:
        """sha256 of the config and of every file of weights, by name. Reads all of them."""
        return {file.name: sha256_of(file) for file in dict.fromkeys((self.config_file, *self.files))}


def open_checkpoint(path: str | Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Read the headers of a folder or file. Raises CheckpointError for one that is not a whole checkpoint.

    Without `allow_pickle` no pickle is opened; with it, none is run.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
        names = {entry.name for entry in path.iterdir()} if is_folder else {path.name}
    except (OSError, ValueError) as error:
        raise CheckpointError(path, "", unreadable(error)) from None
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
        found = _checkpoint(path, dialect, config_file, config, stored, opener, notes)
        return replace(found, undone=tuple(undone))
    shown = packing.shown(stored)
    found = _checkpoint(path, dialect, config_file, config, shown, partial(open_packed, opener, shown, packing), notes)
    files = tuple(dict.fromkeys(info.file for info in stored.values()))
    return replace(found, undone=tuple(undone), files=files, packing=packing, _open_raw=opener)


def _open_meta(folder: Path, allow_pickle: bool) -> Checkpoint:
    tensors, undone = read_parts(folder, allow_pickle=allow_pickle)
    file = folder / "params.json"
    found = _checkpoint(folder, "meta", file, read_json(file), tensors, partial(open_parts, tensors))
    return replace(found, undone=undone)


def _open_gguf(path: Path, file: Path) -> Checkpoint:
    (config, tensors), parts = read_gguf(file)
    return _checkpoint(path, "gguf", parts[0], config, tensors, partial(open_quantised, tensors))


def _checkpoint(
    path: Path,
    dialect: str,
    config_file: Path,
    config: dict[str, Any],
    tensors: dict[str, TensorInfo],
    opener: Callable[[], OpenTensors],
    notes: tuple[str, ...] = (),
) -> Checkpoint:
    if not tensors:
        raise CheckpointError(path, "", "holds no tensors")
    files = tuple(dict.fromkeys(info.file for info in tensors.values()))
    return Checkpoint(path, dialect, config, tensors, files, config_file, opener, notes)
