"""What is refused of a checkpoint's data: copies and witnesses that contradict it, NaN and infinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.places import in_file
from zoo.errors import CheckpointError
from zoo.files.bits import PATTERNS, all_finite, are_finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def check_tied(ledger: Ledger, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a second copy of a tensor that differs from the first."""
    for copy, of in ledger.account.tied.items():
        if not torch.equal(tensors[copy], tensors[of]):
            raise CheckpointError(
                ledger.source,
                copy,
                f"it differs from {of}, but the config says that the two are shared",
                hint="if the model has two separate ones, the config must say so (tie_word_embeddings: false)",
            )


def check_witnesses(ledger: Ledger, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a tensor that is not loaded, for it should say what the config says, and says something else.

    It may have been stored in half precision: 1 %, or the smallest number there is, makes no difference.
    """
    for name in ledger.account.zeros:
        if bool(tensors[name].any()):
            why = "nothing of the model needs it, and only zeros change nothing"
            raise CheckpointError(ledger.source, name, "it is not all 0", why=why)
    for name, witness in ledger.account.witnesses.items():
        found = tensors[name].double().flatten()
        known = [torch.tensor(values, dtype=torch.float64) for values in witness()]
        if not any(len(k) == len(found) and torch.allclose(found, k, rtol=0.01, atol=1e-7) for k in known):
            raise CheckpointError(
                ledger.source,
                name,
                "the rotary frequencies in the file do not match its config",
                why="one of the two is from another model, or rope_theta or rope_scaling is missing from the config",
                hint=f"{_base(ledger, tensors)}compare rope_theta and rope_scaling with those of the original",
            )


def _base(ledger: Ledger, tensors: Mapping[str, Tensor]) -> str:
    """Which base all the file's frequencies have, where they have one: nothing says whether they or the config err."""
    found = [tensors[name].double().flatten() for name in ledger.account.witnesses]
    if any(len(f) < 2 or f[0] != 1 or not 0 < f[1] < 1 for f in found):
        return ""
    theta = found[0][1].item() ** -len(found[0])
    known = theta ** (-torch.arange(len(found[0]), dtype=torch.float64) / len(found[0]))
    if any(f.shape != known.shape or not torch.allclose(f, known, rtol=1e-3, atol=1e-7) for f in found):
        return ""
    return f"the file has the base {theta:.6g}: "


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite. One pass over the data, without a copy of it where it lies end to end."""
    if not _can_be_read(tensor):
        return bool(torch.isfinite(tensor if tensor.itemsize > 1 else tensor.float()).all())
    return all_finite(_as_it_lies(tensor), _type_of(tensor)) if tensor.numel() else True


class FiniteBeside:
    """Looks for NaN and infinity, by several threads at once, in tensors that stay as they are. A context manager.

    Placing is Python, whose lock the threads would wait for meanwhile: so they look when that is done, at the end of
    the block, or when more than `WAITING` bytes wait.
    """

    WAITING, PIECE = 1 << 30, 16 << 20

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._num_threads = ledger, min(4, torch.get_num_threads())  # more read memory no faster
        self._waiting: list[tuple[str, NDArray[np.uint8], str]] = []
        self._ahead = 0  # bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self._settle()

    def check(self, name: str, tensor: Tensor) -> None:
        """Refuse NaN and infinity: now, or at a later call. The tensor must stay as it is until then."""
        if not tensor.numel() or not _can_be_read(tensor):
            check_finite(self._ledger, name, tensor)
            return
        data, dtype = _as_it_lies(tensor), _type_of(tensor)
        self._waiting += [(name, data[at : at + self.PIECE], dtype) for at in range(0, len(data), self.PIECE)]
        self._ahead += len(data)
        if self._ahead > self.WAITING:
            self._settle()

    def _settle(self) -> None:
        """Look at all that waits."""
        waiting, self._waiting, self._ahead = self._waiting, [], 0
        if not are_finite([(data, dtype) for _, data, dtype in waiting], self._num_threads):
            found = (name for name, data, dtype in waiting if not all_finite(data, dtype))
            raise _not_finite(self._ledger, next(found, waiting[0][0]))  # a mapped file may have changed meanwhile


def _can_be_read(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and _type_of(tensor) in PATTERNS


def _type_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _as_it_lies(tensor: Tensor) -> NDArray[np.uint8]:
    """The bytes of a tensor that has some, in the order in which they lie: a copy only where there are gaps."""
    flat = tensor.detach()
    flat = flat if flat.is_contiguous() else flat.permute(_by_stride(flat))
    return flat.reshape(-1).contiguous().view(torch.uint8).numpy()


def _by_stride(tensor: Tensor) -> list[int]:
    """The dimensions in the order in which they lie, which makes a transposed matrix one run of numbers again."""
    return sorted(range(tensor.ndim), key=tensor.stride, reverse=True)


def check_finite(ledger: Ledger, name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity."""
    if not is_finite(tensor):
        raise _not_finite(ledger, name)


def _not_finite(ledger: Ledger, name: str) -> CheckpointError:
    return CheckpointError(*in_file(ledger, name), "it contains NaN or infinity")
