"""What is refused of a checkpoint's data: copies and witnesses that contradict it, NaN and infinity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.checkpoint.inspection import Ledger
from zoo.errors import CheckpointError
from zoo.weights.account import grouped

if TYPE_CHECKING:
    pass


SUMMED = (torch.bfloat16, torch.float16, torch.float32, torch.float64)  # which torch adds up as they are


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
    """Whether no element is NaN or infinite. One pass over the data, without a copy of it.

    A sum in the tensor's own dtype is vectorised, twenty times as fast for bfloat16 as one told to give float32; it may
    overflow where no number does, which the exact pass then tells.
    """
    dtype = None if tensor.dtype in SUMMED else torch.float32
    return bool(torch.isfinite(tensor.sum(dtype=dtype)) or torch.isfinite(tensor).all())


def check_finite(ledger: Ledger, name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity."""
    if not is_finite(tensor):
        raise CheckpointError(*in_file(ledger, name), "it contains NaN or infinity")


def in_file(ledger: Ledger, name: str) -> tuple[Path, str]:
    """The file that one of our tensors comes from, and what it is called there."""
    step = next(step for step in ledger.account.steps if name in step.ours)
    theirs = [ledger.account.actual[n] for n in step.theirs]
    called = grouped(theirs)[0]
    return ledger.checkpoint.tensors[theirs[0]].file, called if called == name else f"{called} (our {name})"
