"""The weights of a folder of torch.distributed.checkpoint: found by its metadata, and every shard of them in its place.

What a training saves beside them (an optimizer's state, counters) is told and left where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean
from zoo.files.dcp.apart import check_apart, check_cover, check_places, others_of
from zoo.files.dcp.metadata import METADATA, DistributedState, ShardedTensor, read_metadata
from zoo.files.dcp.reader import Shard, ShardReader
from zoo.files.open_tensors import OpenTensors
from zoo.files.regular import plain_name, size_of
from zoo.files.shards import INDEX, MAX_TENSORS, PICKLE, PICKLE_INDEX, SINGLE
from zoo.files.state_dict import Weights, find_weights, is_other
from zoo.files.tensor_info import TensorInfo, checked_shape
from zoo.units import ITEM_BYTES

SUFFIX = ".distcp"


class DistributedFolder(NamedTuple):
    """The weights of one folder."""

    tensors: dict[str, TensorInfo]
    shards: dict[str, tuple[Shard, ...]]
    files: tuple[Path, ...]  # that weights lie in
    told: tuple[str, ...]  # of where in the folder they are


def is_distributed(folder: Path, names: Iterable[str]) -> bool:
    """Whether what a folder with `.metadata` holds is what that says. Raises CheckpointError where it holds more."""
    others = [name for name in (SINGLE, INDEX, PICKLE, PICKLE_INDEX) if name in names]
    if not any(name.endswith(SUFFIX) for name in names):
        return not others
    if others:
        hint = f"name the one that you want: {folder / others[0]} or {folder / METADATA}"
        raise CheckpointError(folder, "", f"holds two checkpoints, {others[0]} and {METADATA}", hint=hint)
    return True


def read_folder(folder: Path) -> DistributedFolder:
    """The weights in a folder. Raises CheckpointError for a shard that is missing, cut off, or not where it should be.

    Of the shards' files no more is read than their sizes.
    """
    file = folder / METADATA
    state = read_metadata(file)
    if len(state.values) > MAX_TENSORS:
        raise CheckpointError(file, "", f"names {len(state.values):,} values, and zoo reads {MAX_TENSORS:,} at most")
    weights = _weights(state, file)
    sizes: dict[Path, int] = {}
    shards = {name: tuple(_shards(t, state, file, sizes)) for name, t in weights.tensors.items()}
    check_places(state, file)
    check_apart(shards, others_of(state, {tensor.name for tensor in weights.tensors.values()}, file.parent))
    count = Counter(shards.values())
    tensors = {name: _info(name, weights.tensors[name], shards[name], file) for name in shards}
    tensors = {name: replace(info, shared=str(shards[name][0])) if shards[name] and count[shards[name]] > 1 else info
               for name, info in tensors.items()}  # fmt: skip
    return DistributedFolder(tensors, shards, (file, *sorted(sizes)), weights.told(METADATA))


def open_shards(tensors: dict[str, TensorInfo], shards: Mapping[str, tuple[Shard, ...]]) -> OpenTensors:
    """The tensors, put together of their shards when they are asked for."""
    reader = ShardReader(tensors, shards)
    return OpenTensors(tensors, reader, reader.close)


def opener_of(found: DistributedFolder) -> Any:
    """What opens the tensors of a folder, in a form that a pickle can hold."""
    return partial(open_shards, found.tensors, found.shards)


def _weights(state: DistributedState, file: Path) -> Weights[ShardedTensor]:
    """The one state dict among what was saved. What is no tensor stands there as a text."""
    tree: dict[str, Any] = {}
    parts = {name: state.paths.get(name) or (name,) for name in state.values}
    if all(len(path) == 1 for path in parts.values()) and any(is_other(name.partition(".")[0]) for name in parts):
        parts = {name: tuple(name.split(".", 1)) for name in parts}  # saved flat, an optimizer's state among it
    for name, value in state.values.items():
        *above, last = parts[name]
        within = tree
        for step in above:
            within = within.setdefault(step, {})
            if not isinstance(within, dict):
                raise CheckpointError(file, name, f"lies below {clean(step)!r}, which is a value itself")
        if last in within:
            raise CheckpointError(file, name, "occurs twice in the state dict")
        within[last] = "" if value is None else value
    return find_weights(tree, ShardedTensor, file)


def _shards(tensor: ShardedTensor, state: DistributedState, file: Path, sizes: dict[Path, int]) -> Iterator[Shard]:
    """The shards of a tensor, which cover it once."""
    name = tensor.name
    if tensor.dtype not in ITEM_BYTES:
        raise CheckpointError(file, name, f"zoo does not read the type {clean(tensor.dtype)}")
    shape = checked_shape(tensor.shape, file, name)
    blocks = [(checked_shape(begin, file, name), checked_shape(length, file, name)) for begin, length in tensor.shards]
    check_cover(shape, blocks, file, name)
    for begin, length in blocks:
        if prod(length):
            yield _placed(tensor, begin, length, state, file, sizes)


def _placed(
    tensor: ShardedTensor, begin: Shape, length: Shape, state: DistributedState, file: Path, sizes: dict[Path, int]
) -> Shard:
    """One shard, where the file that holds it says that it ends within it."""
    name, told = tensor.name, f"the shard at {list(begin)}"
    if (place := state.places.get((name, begin))) is None:
        raise CheckpointError(file, name, f"{told} is in no file")
    path = file.parent / plain_name(place.file, file, name)
    if path not in sizes:
        if not path.exists():
            what = f"the file is missing, but {METADATA} says that {told} is in it"
            raise CheckpointError(path, name, what)
        sizes[path] = size_of(path)
    if place.begin + place.length > sizes[path]:
        what = f"{told} ends at byte {place.begin + place.length:,}, the file at {sizes[path]:,}: it is cut off"
        raise CheckpointError(path, name, what)
    if place.length < (need := prod(length) * ITEM_BYTES[tensor.dtype]):
        what = f"{told} has {place.length:,} bytes, and {tensor.dtype} {list(length)} takes {need:,}"
        raise CheckpointError(path, name, what)
    return Shard(path, place.begin, place.length, tensor.dtype, begin, length)


def _info(name: str, tensor: ShardedTensor, shards: tuple[Shard, ...], file: Path) -> TensorInfo:
    shape: Shape = tuple(tensor.shape)
    nbytes = prod(shape) * ITEM_BYTES[tensor.dtype]
    return TensorInfo(name, tensor.dtype, shape, shards[0].file if shards else file, nbytes, None)
