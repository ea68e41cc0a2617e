"""The numbers of a training run: those that go in, and those that come out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The numbers of one training run."""

    steps: int = 5000
    batch_size: int = 8  # windows of the model's whole context
    learning_rate: float = 4e-3  # at its peak; it ends at a hundredth of that
    warmup: int = 200  # steps
    weight_decay: float = 0.1  # on matrices, embedding included
    betas: tuple[float, float] = (0.9, 0.98)
    max_norm: float = 1.0  # of the gradient
    evaluate_every: int = 500  # steps
    patience: int = 4  # evaluations without a better one before training stops
    seed: int = 0
    threads: int = 1  # more of them add float32 numbers in another order


@dataclass(frozen=True)
class Run:
    """How a training run went."""

    steps: int  # taken before it was over or stopped
    best_step: int  # whose weights are kept
    validation: float  # nats per token at that step
    train: float  # mean of the training loss over the evaluation period before it, nats per token
    minutes: float
