"""The decoding loop: prefill in one call, then one token a step.

Shapes: B prompts, R rows that go on from them, T tokens, V vocab.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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
    are an error unless not `is_checked`. A GPU gets the next step before anyone asks what this one chose: it never
    waits for Python, and the step after the last token is in vain.
    """
    limits = [row.limit for row in rows]
    cache = open_cache(model, batch, limits)
    logits = read_prompts(model, cache, batch, len(rows))
    is_plain, is_async = getattr(choose, "is_plain", False), logits.is_cuda
    for step in range(max(limits)):
        is_open = [not row.finish_reason for row in rows]
        if is_checked and not is_plain and not is_async:
            check_finite(logits, step, is_open)
        chosen = choose(logits[:, -1])
        # The score of the likeliest token is the largest one, which needs no pass over all of them.
        best = logits[:, -1].gather(1, chosen[:, None]) if is_plain else logits.amax(-1) if is_async else None
        told = Told(chosen) if best is None or not is_checked else Told(chosen, best)
        if step + 1 < max(limits):
            make_room(cache, limits, step + 1)
        following = model(chosen[:, None], cache=cache, last=True) if is_async and step + 1 < max(limits) else None
        tokens, *largest = told.lists()
        if largest:
            refuse_infinite(largest[0], step, is_open)
        for row, token in zip(rows, tokens, strict=True):
            row.push(token)
        yield logits
        if all(row.finish_reason for row in rows):
            return
        logits = model(chosen[:, None], cache=cache, last=True) if following is None else following


class Told:
    """Tensors on their way to Python: from a GPU they come while it works on."""

    def __init__(self, *tensors: Tensor) -> None:
        self._tensors = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._arrival = torch.cuda.Event() if tensors[0].is_cuda else None
        if self._arrival is not None:
            self._arrival.record()

    def lists(self) -> list[list[Any]]:
        """The numbers of each tensor, once they are here."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return [tensor.tolist() for tensor in self._tensors]


def open_cache(model: LanguageModel, batch: Batch, limits: Sequence[int], *, spare: int = 0) -> CacheLike:
    """A cache for prompts and continuations of at most `limits` tokens, one or several of each prompt in a row.

    It has room for `spare` tokens more where the model has. Raises UsageError where the model cannot read that far.
    """
    cache = model.new_cache(len(batch.rows), batch.width + max(limits) + spare)
    trained = getattr(model.config, "max_seq_len", None)
    limits = limits[:: len(limits) // len(batch.rows)]
    length, limit = max(((len(row), limit) for row, limit in zip(batch.rows, limits, strict=True)), key=sum)
    asked = f"prompt {length} + max_new_tokens {limit} = {length + limit} tokens"
    if cache.max_len < (length + limit if hasattr(cache, "rewind_rows") else batch.width + max(limits)):
        raise UsageError(f"{asked}, but the model holds {cache.max_len}", hint="lower max_new_tokens")
    if trained is not None and length + limit > trained:
        warnings.warn(
            f"{asked}, more than model.max_seq_len={trained}: the model was not trained for that",
            ZooWarning,
            stacklevel=2,
        )
    return cache


def make_room(cache: Any, limits: Sequence[int], num_new: int) -> None:
    """Let a row that goes on stand for those that have all their `num_new` tokens, where these have filled the cache.

    That happens where a model holds no more than the longest text, and a shorter prompt is followed by more tokens.
    """
    if cache.length < cache.max_len or all(limit > num_new for limit in limits):
        return
    last = max(range(len(limits)), key=limits.__getitem__)
    index = [row if limit > num_new else last for row, limit in enumerate(limits)]
    cache.reorder(torch.tensor(index, device=getattr(cache.counts, "device", None)))
    cache.rewind_rows(cache.row_lengths)


def check_finite(logits: Tensor, step: int, is_open: Sequence[bool] | None = None, *, row: int = 0) -> None:
    """Raise ZooError where logits [R, T, V] of an open row hold NaN or no finite maximum; the first is row `row`."""
    refuse_infinite(logits.amax(-1).tolist(), step, is_open, row=row)  # NaN and infinity survive the maximum


def refuse_infinite(
    largest: Sequence[Sequence[float]], step: int, is_open: Sequence[bool] | None = None, *, row: int = 0
) -> None:
    """The same for the largest logits [R, T] of each position."""
    wrong = [
        i for i, held in enumerate(largest) if not all(map(math.isfinite, held)) and (is_open is None or is_open[i])
    ]
    if wrong:
        raise ZooError(
            f"the logits of row {row + wrong[0]} hold NaN or infinity at step {step}",
            why="the weights are damaged, or their numbers overflow in this dtype",
            hint="try float32, or check the weights with zoo inspect",
        )
