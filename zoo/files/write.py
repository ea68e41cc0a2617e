"""Writes a checkpoint folder: streamed, read back, with its provenance, and put in place whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, UsageError, ZooError, clean, some
from zoo.files.beside import json_of, write_file
from zoo.files.into_shards import write_shards
from zoo.files.manifest import MANIFEST, listed_files, manifest_text
from zoo.files.moved import TensorPart
from zoo.files.regular import inner_name, sha256_of, size_of
from zoo.files.safetensors_writer import Digest, TensorSpec
from zoo.files.shards import INDEX, MAX_SHARD_SIZE, bytes_of, cut, index_of
from zoo.files.staging import staged

if TYPE_CHECKING:
    from torch import Tensor

Files = dict[str, Digest]
Provenance = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


def write_folder(
    target: Path,
    tensors: Mapping[str, TensorSpec],
    stream: Iterable[tuple[str, Tensor | TensorPart]],
    *,
    config: Mapping[str, Any],
    extra: Mapping[str, bytes | Path] | None = None,
    provenance: Provenance | None = None,
    max_shard_size: int = MAX_SHARD_SIZE,
    force: bool = False,
    sources: Sequence[Path] = (),
    config_name: str = "config.json",
    pickle_name: str | None = None,
    unlisted: Mapping[str, Callable[[Path], object] | None] | None = None,
    weights_name: str | None = None,
    write_weights: Callable[[Path, Iterable[tuple[str, Any]]], Files] | None = None,
) -> Path:
    """Write `tensors`, which `stream` yields one by one or in parts, with config.json, the files `extra` and zoo.json.

    `provenance` may be a function, which is asked when the weights have been written. Peak memory is the largest
    tensor; with `pickle_name`, for formats that are one pickle, all of them. With `weights_name` they are one file of
    that name, and `write_weights` writes files of another kind. The same input gives the same bytes. `force` replaces a
    folder that zoo wrote, and allows a target within one of `sources`; nothing replaces a folder that zoo did not
    write. `unlisted` are files that go on changing, each with what writes it, or None where one is not kept: zoo.json
    leaves them out.
    Raises ZooError, and leaves the target as it was, if the target is not free or the disk refuses.
    """
    target = Path(os.path.abspath(target))
    extra = dict(extra or {})
    only = pickle_name or weights_name
    shards = cut(tensors, max_shard_size) if only is None else {only: dict(tensors)}
    for name in [*extra, *(unlisted := unlisted or {})]:
        inner_name(name, target, "")
        if name in (*shards, config_name, MANIFEST, INDEX):
            raise UsageError(f"an extra file cannot be called {name!r}: zoo writes a file of that name")
    # Before the lock, a file beside the target, too: refused means that nothing was touched.
    check_target(target, sources, force, unlisted)
    try:
        with staged(target, lambda path: check_target(path, sources, force, unlisted)) as folder:
            _check_room(target, tensors)
            if write_weights is not None:
                files = write_weights(folder, stream)
            elif pickle_name:
                files = _write_pickle(folder / pickle_name, stream)
            else:
                files = write_shards(folder, shards, stream)
            index = {} if write_weights else _index(shards)
            files |= _write_others(folder, index | {config_name: json_of(config)} | extra)
            told = provenance() if callable(provenance) else provenance or {}
            write_file(folder / MANIFEST, manifest_text(files, told).encode())
            for name, write in unlisted.items():
                if write is not None:
                    write(folder / name)
    except OSError as error:
        raise _refused(target, error) from error
    return target


def copy_folder(target: Path, files: Mapping[str, Path], *, provenance: Mapping[str, Any], force: bool = False) -> Path:
    """Copy `files` as they are, with a zoo.json that lists them, under the terms of `write_folder`."""
    target = Path(os.path.abspath(target))
    for name in files:
        inner_name(name, target, "")
    _check_free(target, force)
    try:
        with staged(target, lambda path: _check_free(path, force)) as folder:
            digests = _write_others(folder, files)
            write_file(folder / MANIFEST, manifest_text(digests, provenance).encode())
    except OSError as error:
        raise _refused(target, error) from error
    return target


def check_target(target: Path, sources: Sequence[Path], force: bool, unlisted: Collection[str] = ()) -> None:
    """Raise ZooError unless `write_folder` may write there."""
    target = Path(os.path.abspath(target))
    if target.suffix == ".gguf":
        hint = "give a name without .gguf, or the format gguf: --to gguf, format='gguf'"
        raise UsageError(f"{target} is the name of a GGUF file, and a folder would be written", hint=hint)
    _check_free(target, force, unlisted)
    if not force:
        _check_apart(target, sources)


def _check_room(target: Path, tensors: Mapping[str, TensorSpec]) -> None:
    if (needed := sum(map(bytes_of, tensors.values()))) > (free := shutil.disk_usage(target.parent).free):
        raise ZooError(f"{target}: needs {needed:,} bytes, {free:,} are free on that disk")


def _check_free(target: Path, force: bool, unlisted: Collection[str] = ()) -> None:
    """Refuse a target that holds anything but a folder of ours, and without `force` that too."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ZooError(f"{target} is not a folder, and zoo replaces only folders", hint="choose another name")
    if not (names := sorted(entry.name for entry in target.iterdir()) if target.exists() else []):
        return
    try:
        ours = {MANIFEST, *unlisted, *listed_files(target)}
    except CheckpointError:
        hint = "choose another name: zoo never changes a folder that it did not write"
        raise ZooError(f"{target} is not empty, and zoo did not write it", hint=hint) from None
    if strange := [clean(name) for name in names if not _is_kept(target / name, ours, unlisted)]:
        raise ZooError(f"{target} contains files that zoo did not write: {some(strange)}", hint="move that away first")
    if not force:
        hint = "choose another name, or replace it: --force where the command has it, force=True in Python"
        raise ZooError(f"{target} exists already", hint=hint)


def _is_kept(path: Path, ours: Collection[str], unlisted: Collection[str]) -> bool:
    """Whether it is a file of ours, or a folder of such files, or one that goes on changing."""
    if path.is_symlink() or not path.is_dir():
        return path.name in ours and path.is_file()
    inside = list(path.iterdir())
    is_changing = path.name in unlisted
    return (is_changing or bool(inside)) and all(
        inner.is_file() and (is_changing or f"{path.name}/{inner.name}" in ours) for inner in inside
    )


def _check_apart(target: Path, sources: Sequence[Path]) -> None:
    place = target.resolve()
    for source in sources:
        found = source.resolve()
        if place == found or place in found.parents or found in place.parents:
            raise ZooError(f"{target} overlaps the source {source}", hint="choose another name, or --force")


def _write_pickle(path: Path, stream: Iterable[tuple[str, Any]]) -> Files:
    """One file as torch.save writes it, whose bytes depend on the tensors alone."""
    import torch

    with path.open("xb") as file:
        # A view would bring its whole storage; the number of the part is the reader's addition to the name.
        torch.save({name.partition("#")[0]: tensor.clone() for name, tensor in stream}, file)
        file.flush()
        os.fsync(file.fileno())
    return {path.name: Digest(sha256_of(path), size_of(path))}


def _write_others(folder: Path, contents: Mapping[str, bytes | Path]) -> Files:
    files: Files = {}
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_file(folder / name, content)
        files[name] = Digest(sha256_of(folder / name), size_of(folder / name))
    return files


def _index(shards: Mapping[str, dict[str, TensorSpec]]) -> dict[str, bytes | Path]:
    return {INDEX: json_of(index_of(shards))} if len(shards) > 1 else {}


def _refused(target: Path, error: OSError) -> ZooError:
    hints = {errno.ENOSPC: "free some space", errno.EDQUOT: "your disk quota is used up", errno.EACCES: "is it yours?"}
    what = f"{target} was not written: {error.strerror or error}"
    return ZooError(what, why="what was there before is unchanged", hint=hints.get(error.errno or 0, ""))
