"""What a checkpoint's bytes are made of: how many numbers it stores in which way, and in how many bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.checkpoint.inspection import Ledger

if TYPE_CHECKING:
    from zoo.files.packed import PackedMatrix


@dataclass(frozen=True)
class StoredKind:
    """The tensors that are stored in one way: a type, or an encoding in words."""

    words: str
    tensors: int
    numbers: int
    nbytes: int  # in the files, scales and all

    @property
    def bits(self) -> float:
        """Bits of a number."""
        return 8 * self.nbytes / max(1, self.numbers)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"type": self.words, "tensors": self.tensors, "numbers": self.numbers, "bytes": self.nbytes,
                "bits_per_weight": round(self.bits, 3)}  # fmt: skip


def stored_kinds(ledger: Ledger) -> list[StoredKind]:
    """Each way in which the files store tensors, the one with the most bytes first."""
    packed: Mapping[str, PackedMatrix] = ledger.checkpoint.packing.matrices if ledger.checkpoint.packing else {}
    groups: dict[str, list[Any]] = {}
    for name, info in ledger.checkpoint.tensors.items():
        words = packed[name].encoding.words if name in packed else info.dtype
        groups.setdefault(words, []).append(info)
    found = [
        StoredKind(words, len(infos), sum(info.numel for info in infos), sum(info.nbytes for info in infos))
        for words, infos in groups.items()
    ]
    return sorted(found, key=lambda kind: -kind.nbytes)
