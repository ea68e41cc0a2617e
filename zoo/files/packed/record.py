"""What is known of packed weights before any is read: where the parts lie and what their numbers mean. Needs no torch.

A packed matrix `x.weight` lies in a file as several tensors: small numbers, scales, zero points. Each format says by
records of this file which tensors those are; the rest of zoo sees `x.weight` with its own shape and none of its parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean, some
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

BAND = 1 << 22  # numbers that are unpacked at a time


@dataclass(frozen=True)
class Encoding:
    """How the numbers of a matrix are coded; `format` is whose layout it is, in one lower-case word."""

    format: str  # gptq, awq, compressed-tensors, bitsandbytes, fp8, mxfp4, nvfp4, mlx, ...
    numbers: str  # int, fp8, nf4, fp4: what one code means before it is scaled
    bits: int  # of a code
    group: tuple[int | None, int | None] = (1, None)  # rows and columns that share a scale; None: all of them
    symmetric: bool = True  # no zero point and no offset
    ordered: bool = False  # a column has its group by a list (g_idx), not by its place
    words: str = ""  # all this for people: "AWQ, 4 bits, groups of 128, symmetric: no"
    settings: Mapping[str, int | str] = field(default_factory=dict)  # what only this format has


@dataclass(frozen=True)
class PackedMatrix:
    """One weight of the model whose numbers are spread over several tensors of a file."""

    name: str  # as the unpacked checkpoint would call it
    shape: Shape
    dtype: str  # of the numbers as they are unpacked
    encoding: Encoding
    parts: Mapping[str, TensorInfo]  # role -> where it lies: codes, scales, zeros, order, ...
    band: Callable[[PackedMatrix, Mapping[str, Tensor], slice], Tensor] = field(repr=False)  # some rows, by the format
    turned: PackedMatrix | None = None  # the rows that lie in the file, where they are shown as columns

    @property
    def nbytes(self) -> int:
        """Bytes of all parts in the file."""
        return sum(info.nbytes for info in self.parts.values())

    @property
    def bits_per_weight(self) -> float:
        """Bits in the file for each number of the matrix, scales and all."""
        return 8 * self.nbytes / max(1, prod(self.shape))

    @property
    def info(self) -> TensorInfo:
        """The matrix as a tensor of the checkpoint: its bytes are those of its parts."""
        return TensorInfo(self.name, self.dtype, self.shape, next(iter(self.parts.values())).file, self.nbytes, None)

    def unpack(self, parts: Mapping[str, Tensor], rows: slice | None = None) -> Tensor:
        """The numbers of `rows` (of the first dimension, all by default) in `dtype`; `parts` are tensors by role.

        Some four million at a time. Raises CheckpointError for a scale or a code that means nothing.
        """
        import torch

        first, last, _ = (rows or slice(None)).indices(self.shape[0])
        dtype: torch.dtype = getattr(torch, self.dtype)
        step = max(1, BAND // max(1, prod(self.shape[1:])))
        if first < last <= first + step:
            return self.band(self, parts, slice(first, last)).to(dtype).reshape(last - first, *self.shape[1:])
        device = next(iter(parts.values())).device
        out = torch.empty((max(0, last - first), *self.shape[1:]), dtype=dtype, device=device)
        for start in range(first, last, step):
            stop = min(start + step, last)
            out[start - first : stop - first] = self.band(self, parts, slice(start, stop))
        return out

    def refuse(self, role: str, what: str, *, why: str = "", hint: str = "") -> CheckpointError:
        """The error that names one part."""
        return CheckpointError(self.parts[role].file, self.parts[role].name, what, why=why, hint=hint)


@dataclass(frozen=True)
class Packing:
    """All packed weights of a checkpoint, and what its config says of them."""

    keys: frozenset[str]  # of the config that said so
    matrices: Mapping[str, PackedMatrix]
    unused: Mapping[str, str] = field(default_factory=dict)  # tensors that no weight needs -> the reason
    notes: tuple[str, ...] = ()  # where config and file differ, and which of the two is followed
    spare: frozenset[str] = frozenset()  # tensors that a model may lack if they are all 0

    def shown(self, tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
        """`tensors` of the files with each packed matrix in the place of its first part, and no parts."""
        first = {next(iter(m.parts.values())).name: m for m in self.matrices.values()}
        hidden = {info.name for m in self.matrices.values() for info in m.parts.values()} | self.unused.keys()
        shown: dict[str, TensorInfo] = {}
        for name, info in tensors.items():
            if name in first:
                shown[first[name].name] = first[name].info
            elif name not in hidden:
                if name in self.matrices:
                    raise CheckpointError(info.file, name, "is in the file twice, packed and as it is")
                shown[name] = info
        return shown

    def in_words(self, tensors: Mapping[str, TensorInfo]) -> str:
        """Each encoding, how many of the tensors that are shown are packed, and what the other matrices are."""
        counts = Counter(matrix.encoding.words for matrix in self.matrices.values())
        kinds = [words if len(counts) == 1 else f"{words} ({count})" for words, count in counts.most_common()]
        rest = [info for name, info in tensors.items() if name not in self.matrices and len(info.shape) > 1]
        packed = f"{len(self.matrices)} of {len(tensors)} tensors packed"
        return "; ".join([*kinds, packed, *([_plain(rest)] if rest else [])])

    def to_dict(self, tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
        """The same as JSON values."""
        counts = Counter(matrix.encoding.words for matrix in self.matrices.values())
        nbytes = sum(matrix.nbytes for matrix in self.matrices.values())
        numbers = sum(prod(matrix.shape) for matrix in self.matrices.values())
        return {
            "words": self.in_words(tensors),
            "formats": sorted({matrix.encoding.format for matrix in self.matrices.values()}),
            "encodings": dict(counts),
            "tensors": len(self.matrices),
            "bytes": nbytes,
            "bits_per_weight": round(8 * nbytes / max(1, numbers), 3),
            "unused": dict(self.unused),
        }

    def told(self) -> list[str]:
        """What a user should know though it is no error."""
        reasons = Counter(self.unused.values())
        return [*self.notes, *(f"{count} tensors are not read: {reason}" for reason, count in reasons.items())]


EMBEDDING, HEAD = ("embed", "wte", "wpe", "tok_embeddings"), ("lm_head", "output_layer", "embed_out", "output.weight")


def _plain(infos: list[TensorInfo]) -> str:
    """embedding and head in float16"""
    by_dtype: dict[str, list[str]] = {}
    for info in infos:
        called = "embedding" if any(word in info.name for word in EMBEDDING) else ""
        called = called or ("head" if any(word in info.name for word in HEAD) else clean(info.name))
        names = by_dtype.setdefault(info.dtype, [])
        names += [] if called in names else [called]
    return ", ".join(f"{_listed(names)} in {dtype}" for dtype, names in by_dtype.items())


def _listed(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 3 else some(names, 3)
