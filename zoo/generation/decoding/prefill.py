"""Reading the prompts into a cache: in one pass, or in chunks, whose memory does not grow with the prompt.

Shapes: B prompts, R rows that go on from them, V vocab.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.prompts import Batch
from zoo.generation.protocols import CacheLike, LanguageModel


def read_prompts(model: LanguageModel, cache: CacheLike, batch: Batch, num_rows: int) -> Tensor:
    """Logits [R, 1, V] after the prompts. Each is read once, however many rows go on from it.

    Raises UsageError for prompts that their model cannot read in the chunks that are asked for.
    """
    at = 0
    if batch.chunk is not None and batch.chunk < batch.width:
        check_chunks(model, cache, batch)
        while at + batch.chunk < batch.width:
            _read(model, cache, batch, slice(at, at + batch.chunk))
            at += batch.chunk
    logits = _read(model, cache, batch, slice(at, None))
    if num_rows == len(batch.rows):
        return logits
    index = torch.arange(num_rows, device=logits.device) * len(batch.rows) // num_rows
    cache.reorder(index)
    return logits[index]


def check_chunks(model: Any, cache: CacheLike, batch: Batch) -> None:
    """Raise UsageError where a text that fills the cache, read in chunks, is not the text read at once."""
    if getattr(cache, "needs_whole_prompt", False):
        raise UsageError(
            f"prefill_chunk={batch.chunk}: the tokens of a prompt see each other in this model",
            hint="leave prefill_chunk out",
        )
    if batch.inputs:
        raise UsageError(
            f"prefill_chunk={batch.chunk}: a prompt with {', '.join(sorted(batch.inputs))} is read in one pass",
            hint="leave prefill_chunk out",
        )
    max_len, modules = cache.max_len, getattr(model, "modules", tuple)()
    shortest = min((n for m in modules if (n := getattr(m, "constant_up_to", None)) is not None), default=max_len)
    if max_len > shortest:
        raise UsageError(
            f"prefill_chunk={batch.chunk}: beyond {shortest} tokens the attention of this model depends on the length "
            f"of the whole prompt, and there is room for {max_len}",
            hint="leave prefill_chunk out, or give shorter prompts and a lower max_new_tokens",
        )


def _read(model: LanguageModel, cache: CacheLike, batch: Batch, part: slice) -> Tensor:
    mask = None if batch.mask is None else batch.mask[:, part]
    return model(batch.tokens[:, part], attention_mask=mask, cache=cache, last=True, **batch.inputs)
