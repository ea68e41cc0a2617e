"""Models in numbers: how well they predict a text, where they differ, how fast they are and what memory they take.

How a text is read. The tokenizer's own tokens are predicted, one by one; what it puts before every text (BOS) is read
and not predicted, and where it puts nothing the first token of the text takes that part. The text goes through the
model in windows of `window` tokens, each `stride` further on than the last; by default they are equal, and a window is
blind to the one before it, the strictest of the usual protocols. Losses are nats of a log-softmax in float32.
Perplexity is per token of a model's own vocabulary; bits per byte of the predicted text compare across vocabularies.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.measurement.evaluation import Evaluation, evaluate
    from zoo.measurement.measuring import measure
    from zoo.measurement.record import Measured, Measurements
    from zoo.measurement.speed.benchmark import Benchmark, bench

_LAZY = {  # the worker of a benchmark must not pay for what it does not use
    "measure": "measuring",
    "Measured": "record",
    "Measurements": "record",
    "bench": "speed.benchmark",
    "Benchmark": "speed.benchmark",
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
}

__all__ = ["Benchmark", "Evaluation", "Measured", "Measurements", "bench", "evaluate", "measure"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo.measurement' has no attribute {name!r}")
    value = getattr(import_module(f"zoo.measurement.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
