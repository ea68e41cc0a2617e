"""Tensors read into memory of their own, for those that are changed on the way: mapped, their pages would stay."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo.errors import CheckpointError
from zoo.files.regular import unreadable
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor


def copied(info: TensorInfo | None, name: str, mapped: Mapping[str, Tensor]) -> Tensor:
    """The tensor `name`, which lies in a file as `info` says; that of `mapped` where it does not lie there plainly."""
    if info is None or info.offset is None or info.file.suffix != ".safetensors" or not info.nbytes:
        return mapped[name]
    import torch

    data = mmap.mmap(-1, info.nbytes)  # pages of its own, which are given back at once
    try:
        with info.file.open("rb", buffering=0) as file:
            file.seek(info.offset)
            done = 0
            while done < info.nbytes and (count := file.readinto(memoryview(data)[done:])):
                done += count
    except OSError as error:
        raise CheckpointError(info.file, name, unreadable(error)) from None
    if done < info.nbytes:
        raise CheckpointError(info.file, name, "changed since its header was read")
    return torch.frombuffer(data, dtype=getattr(torch, info.dtype)).reshape(info.shape)
