"""How many tensors a config describes, against how many there are: asked before any list of them is made.

A number in a config is written in a moment, and the names that follow from it take seconds and gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from zoo.anatomy.config import ModelConfig
from zoo.errors import CheckpointError
from zoo.files.tensor_info import TensorInfo

SHARE = (
    16  # of ours that one tensor of a file may stand for, where several lie in one; parts of ours that a file may have
)
FEW = 1000  # which are quickly listed, so that the ledger can say what is missing
MANY = 20_000  # names beyond which a list takes its time


def most_for(count: int) -> int:
    """How many tensors of one side may stand against `count` of the other."""
    return SHARE * count + FEW


def compare_counts(config: ModelConfig, tensors: Mapping[str, TensorInfo]) -> None:
    """Refuse files with far fewer tensors, or far more, than a config describes.

    Experts may lie in a tensor each or all in one, so where there are many it is elements that are compared.
    A family that describes no anatomy is not asked.
    """
    if type(config).anatomy is ModelConfig.anatomy or not tensors:
        return
    weights, there = config.anatomy().weights, len(tensors)
    layers = [1 if weight.layers is None else len(weight.layers) for weight in weights]
    apart = sum(n * (w.shape[0] if w.role == "experts" else 1) for n, w in zip(layers, weights, strict=True))
    first = next(iter(tensors.values())).file
    file = first if first.suffix == ".gguf" else first.parent / "config.json"
    ours, theirs = sum(weight.numel for weight in weights), sum(info.numel for info in tensors.values())
    what = f"it describes {apart:,} tensors of {ours:,} numbers, but the files have {there:,} of {theirs:,}"
    if sum(layers) > most_for(there):
        raise CheckpointError(file, "", what)
    if apart > MANY and ours > 4 * theirs:
        raise CheckpointError(file, "", what)
    if there > most_for(apart):
        raise CheckpointError(file, "", f"there are {there:,} tensors, but the config describes {apart:,}")
