"""The tensors that a packed matrix is made of, found and checked by their headers. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean
from zoo.files.tensor_info import TensorInfo

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
