"""What machines give and need: FLOPs from processors and days, days from FLOPs, memory of a layout."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from zoo.anatomy.size import Size
from zoo.errors import UsageError

DAY = 86_400.0  # seconds
MFU = 0.4  # the share of the peak that training uses; LLaMA 3 reports 38 to 43 % (arXiv:2407.21783, table 4)
PEAK = 989e12  # FLOPs a second of an H100 in bfloat16, without sparsity


@dataclass(frozen=True)
class Cluster:
    """Processors of one kind; `peak` FLOPs a second each, of which training uses the share `mfu`."""

    gpus: int
    peak: float = PEAK
    mfu: float = MFU

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("gpus", self.gpus, 1, 10**8), ("peak", self.peak, 1e9, 1e21), ("mfu", self.mfu, 1e-6, 1),
        ):  # fmt: skip
            if not least <= value <= most:
                raise UsageError(f"{name}={value:g} is not a number from {least:g} to {most:g}")

    @property
    def speed(self) -> float:
        """FLOPs a second of all."""
        return self.gpus * self.peak * self.mfu

    def flops(self, days: float) -> float:
        """What they compute in so many days."""
        return self.speed * days * DAY

    def days(self, flops: float) -> float:
        """How long they take."""
        return flops / self.speed / DAY


@dataclass(frozen=True)
class Parallelism:
    """How a model is cut over the processors: tensors, pipeline, context; what is left repeats the model on other data.

    Weights, gradients and the optimizer's state are cut over tensors and pipeline, and, where `is_sharded`, over the
    data too (ZeRO, arXiv:1910.02054).
    """

    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    is_sharded: bool = True

    def data(self, gpus: int) -> int:
        """How many copies of the model there are. Raises UsageError where the cuts do not divide the processors."""
        cuts = prod((self.tensor, self.pipeline, self.context))
        if min(self.tensor, self.pipeline, self.context) < 1 or gpus % cuts:
            what = f"tensor={self.tensor} pipeline={self.pipeline} context={self.context}"
            raise UsageError(f"{what} does not divide gpus={gpus}", hint="their product must")
        return gpus // cuts

    def bytes_each(self, size: Size, gpus: int, length: int) -> float:
        """Bytes on the fullest processor, with one text of `length` tokens at a time and layers computed again."""
        copies = self.data(gpus)
        whole = size.training_bytes(1, length)
        states = whole.weights + whole.gradients + whole.optimizer
        cut = self.tensor * self.pipeline * (copies * self.context if self.is_sharded else 1)
        # A pipeline holds as many texts in flight as it has stages, each on its share of the layers.
        return states / cut + size.recomputed_activations(1, length) / (self.tensor * self.context)
