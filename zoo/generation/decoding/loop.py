"""The decoding loop: prefill in one call, then one token a step.

Shapes: B prompts, R rows that go on from them, T tokens, V vocab.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zoo.errors import UsageError, ZooError, ZooWarning
from zoo.generation.decoding.prefill import read_prompts
from zoo.generation.decoding.stopping import GrowingRow
from zoo.generation.prompts import Batch
from zoo.generation.protocols import CacheLike, LanguageModel


@torch.inference_mode()  # as a decorator: inside the generator it would stay on for the caller between two steps
def decode(
    model: LanguageModel,
    batch: Batch,
    rows: Sequence[GrowingRow],
    choose: Callable[[Tensor], Tensor],
    *,
    is_checked: bool = True,
) -> Iterator[Tensor]:
    """Push tokens into `rows` until all are finished; gives the raw logits [R, 1, V] of each step.

    A finished row is fed on, since its column must hold something, but takes nothing more. Logits that are not numbers
    are an error unless not `is_checked`.
    """
    limits = [row.limit for row in rows]
    cache = open_cache(model, batch, limits)
    logits = read_prompts(model, cache, batch, len(rows))
    for step in range(max(limits)):
        if is_checked:
            check_finite(logits, step, [not row.finish_reason for row in rows])
        chosen = choose(logits[:, -1])
        for row, token in zip(rows, chosen.tolist(), strict=True):
            row.push(token)
        yield logits
        if all(row.finish_reason for row in rows):
            return
        logits = model(chosen[:, None], cache=cache, last=True)


def open_cache(model: LanguageModel, batch: Batch, limits: Sequence[int], *, spare: int = 0) -> CacheLike:
    """A cache for prompts and continuations of at most `limits` tokens, one or several of each prompt in a row.

    It has room for `spare` tokens more where the model has. Raises UsageError where the model cannot read that far.
    """
    total = batch.width + max(limits)
    cache = model.new_cache(len(batch.rows), total + spare)
    if cache.max_len < total:
        asked = f"prompt {batch.width} + max_new_tokens {max(limits)} = {total} tokens"
        raise UsageError(f"{asked}, but the model holds {cache.max_len}", hint="lower max_new_tokens")
    trained = getattr(model.config, "max_seq_len", None)
    limits = limits[:: len(limits) // len(batch.rows)]
    length, limit = max(((len(row), limit) for row, limit in zip(batch.rows, limits, strict=True)), key=sum)
    if trained is not None and length + limit > trained:
        asked = f"prompt {length} + max_new_tokens {limit} = {length + limit} tokens"
        warnings.warn(
            f"{asked}, more than model.max_seq_len={trained}: the model was not trained for that",
            ZooWarning,
            stacklevel=2,
        )
    return cache


def check_finite(logits: Tensor, step: int, is_open: Sequence[bool] | None = None, *, row: int = 0) -> None:
    """Raise ZooError where logits [R, T, V] of an open row hold NaN or no finite maximum; the first is row `row`."""
    best = logits.amax(-1).tolist()  # NaN and infinity survive the maximum, and this is one cheap pass
    wrong = [i for i, held in enumerate(best) if not all(map(math.isfinite, held)) and (is_open is None or is_open[i])]
    if wrong:
        raise ZooError(
            f"the logits of row {row + wrong[0]} hold NaN or infinity at step {step}",
            why="the weights are damaged, or their numbers overflow in this dtype",
            hint="try float32, or check the weights with zoo inspect",
        )
