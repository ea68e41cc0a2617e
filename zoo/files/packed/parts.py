"""The tensors that a packed matrix is made of, found and checked by their headers. Needs no torch."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean
from zoo.files.regular import unreadable
from zoo.files.tensor_info import TensorInfo, checked_shape

FLOATS = ("float32", "bfloat16", "float16")


@dataclass
class PartsOfFile:
    """The tensors of a checkpoint, each given to one matrix at most; `left` says what none took."""

    tensors: Mapping[str, TensorInfo]
    taken: dict[str, str] = field(default_factory=dict)  # tensor -> the matrix that it is a part of

    def take(self, name: str, owner: str) -> TensorInfo:
        """The tensor `name`, which is a part of `owner` from now on."""
        if name not in self.tensors:
            raise self.lacking(owner, name)
        if name in self.taken:
            info, other = self.tensors[name], clean(self.taken[name])
            raise CheckpointError(info.file, name, f"is a part of two weights, {other} and {clean(owner)}")
        self.taken[name] = owner
        return self.tensors[name]

    def maybe(self, name: str, owner: str) -> TensorInfo | None:
        """As `take`, or None where there is no such tensor."""
        return self.take(name, owner) if name in self.tensors else None

    def ending(self, suffix: str) -> list[str]:
        """What stands before `suffix` in the names that end with it."""
        return [name.removesuffix(suffix) for name in self.tensors if name.endswith(suffix)]

    def refuse_left(self, suffixes: Iterable[str]) -> None:
        """Refuse a tensor that by its name unpacks another one, where there is no such other."""
        endings = tuple(suffixes)
        for name, info in self.tensors.items():
            if name.endswith(endings) and name not in self.taken:
                raise CheckpointError(info.file, name, "belongs to a packed weight, whose numbers are missing")

    def lacking(self, owner: str, name: str) -> CheckpointError:
        """The error for a matrix that lacks one of its parts."""
        near = next((t for t, o in self.taken.items() if o == owner), owner)
        file = self.tensors[near].file if near in self.tensors else "the checkpoint"
        return CheckpointError(file, near, f"is packed, and {clean(name)}, which unpacks it, is missing")


def expect(info: TensorInfo, dtypes: Iterable[str], shape: Shape | None, *, of: str) -> None:
    """Refuse a part of another type or shape than what `of` needs."""
    dtypes = tuple(dtypes)
    if info.dtype in dtypes and (shape is None or info.shape == shape):
        return
    wanted = f"{' or '.join(dtypes)}{'' if shape is None else f' {list(shape)}'}"
    raise CheckpointError(info.file, info.name, f"is {info.dtype} {list(info.shape)}", why=f"{of} has {wanted}")


def whole(total: int, step: int, refuse: Callable[[str], CheckpointError], *, of: str) -> int:
    """How many steps make `total`. Raises what `refuse` makes of it where they do not."""
    if step < 1 or total % step:
        raise refuse(f"its {total} {of} are not whole groups of {step}")
    return total // step


def ceil_div(total: int, step: int) -> int:
    """Steps that it takes to cover `total`."""
    return -(-total // step)


def read_bytes(info: TensorInfo) -> bytes:
    """The bytes of a small tensor, read while only headers are. Raises CheckpointError for one that is not small."""
    if info.offset is None:
        raise CheckpointError(info.file, info.name, "cannot be read before the rest of its file", hint=AS_SAFETENSORS)
    if info.nbytes > SMALL:
        raise CheckpointError(info.file, info.name, f"has {info.nbytes:,} bytes, more than the {SMALL:,} it may")
    try:
        with info.file.open("rb") as file:
            file.seek(info.offset)
            return file.read(info.nbytes)
    except OSError as error:
        raise CheckpointError(info.file, info.name, unreadable(error)) from None


def read_sizes(info: TensorInfo, count: int) -> tuple[int, ...]:
    """The `count` whole numbers that a tensor of sizes holds. Raises CheckpointError for what are no sizes."""
    expect(info, ("int64", "int32"), (count,), of="a list of sizes")
    sizes = struct.unpack(f"<{count}{'q' if info.dtype == 'int64' else 'i'}", read_bytes(info))
    return checked_shape(sizes, info.file, info.name)


SMALL = 1 << 16  # bytes
AS_SAFETENSORS = "save the checkpoint as safetensors"


def shown_dtype(config: Mapping[str, Any], scales: str) -> str:
    """In which type unpacked numbers are shown: the model's by its config, or where it does not say, the scales'.

    They are computed as the owner of the format does, in the scales' type; where the two differ, rounded once more.
    """
    inner = config.get("text_config")
    for group in (config, inner if isinstance(inner, dict) else {}):
        for key in ("dtype", "torch_dtype"):
            if isinstance(said := group.get(key), str) and (name := said.removeprefix("torch.")) in FLOATS:
                return name
    return scales
