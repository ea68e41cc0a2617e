"""How a prompt is read before its text joins others: by itself, as in `zoo.generate`.

Shapes: R rows, T tokens, V vocab, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.batching.beginnings import Beginnings
from zoo.generation.batching.member import Member
from zoo.generation.batching.request import Request, TokenScore, scored
from zoo.generation.batching.slices import LONG, Slices
from zoo.generation.decoding.loop import open_cache
from zoo.generation.decoding.prefill import read_prompts
from zoo.generation.job import GenerationJob, open_job
from zoo.generation.protocols import LanguageModel, TokenizerLike, device_of
from zoo.nn.joining import can_share

CHUNK = 256  # positions whose logits are held at once


def opened(
    model: LanguageModel,
    request: Request,
    *,
    tokenizer: TokenizerLike | None,
    beginnings: Beginnings | None,
    is_alone: bool = False,
) -> tuple[GenerationJob, tuple[Any, Tensor, bool] | None] | None:
    """The request's job, and what `read` gives where its texts may join others; None: there is nothing to be made."""
    if request.only_reads:
        return None
    job = open_job(model, [request.prompt], request.config, tokenizer=tokenizer, inputs=request.inputs)
    return job, None if is_alone or not _steps_alike(job) else read(job, beginnings)


def _steps_alike(job: GenerationJob) -> bool:
    """Whether each step of the job is one token of each row by one pass of the model: no beams, no second model."""
    c = job.config
    return c.num_beams == 1 and c.guidance_scale in (None, 1) and c.cache is None


def read(job: GenerationJob, beginnings: Beginnings | None) -> tuple[Any, Tensor, bool]:
    """The cache of R rows after the prompt, logits [R, V], and whether it was read in one pass."""
    limits, tokens, count = [row.limit for row in job.rows], job.batch.rows[0], len(job.rows)
    is_shared = beginnings is not None and not hasattr(job.model, "memory") and not job.batch.inputs
    if beginnings is not None and is_shared and (found := beginnings.begin(tokens, len(tokens) + max(limits))):
        cache, known = found
        logits = job.model(job.batch.tokens[:, known:], cache=cache, last=True)
    else:
        found = None
        cache = open_cache(job.model, job.batch, limits)
        logits = read_prompts(job.model, cache, job.batch, 1)
    if beginnings is not None and is_shared and can_share(cache):
        beginnings.keep(tokens, cache)
    if count > 1:
        cache.reorder(torch.zeros(count, dtype=torch.long, device=logits.device))
    return cache, logits[:, -1].expand(count, -1), found is None


@dataclass(eq=False)
class Settling:
    """A text that is read again by itself, since its next token hangs on the last bits of `logits` [V]."""

    member: Member
    logits: Tensor
    passes: Iterator[tuple[Any, Tensor] | None]


def reread(member: Member, model: LanguageModel) -> Iterator[tuple[Any, Tensor] | None]:
    """Read a text by itself, a pass at a time; at the end, the cache and the logits [1, V] after its last token.

    A pass over a long prompt pauses between the layers of `model` besides.
    """
    job = member.job
    cache = open_cache(job.model, job.batch, [member.row.limit])
    slices = Slices(model, partial(read_prompts, job.model, cache, job.batch, 1))
    try:
        while len(member.request.prompt) > LONG and not slices.is_done:
            yield None
            slices.advance()
        logits = slices.result() if slices.is_done else read_prompts(job.model, cache, job.batch, 1)
    finally:
        slices.stop()
    for token in [*member.row.tokens]:
        yield None
        logits = job.model(torch.tensor([[token]], device=member.device), cache=cache, last=True)
    yield cache, logits[:, -1]


def scores_of_prompt(model: Any, request: Request) -> list[TokenScore | None]:
    """The probabilities of a prompt's own tokens, the first of which has none. Raises UsageError without a decoder."""
    if not (hasattr(model, "states") and hasattr(model, "decode")) or request.inputs:
        raise UsageError(
            "only decoders give the probabilities of a prompt's tokens, and only for text without pictures"
        )
    tokens = torch.tensor([request.prompt], device=device_of(model))
    states = model.states(tokens)[0]  # [T, D]
    found: list[TokenScore | None] = [None]
    for start in range(0, len(request.prompt) - 1, CHUNK):
        logits = model.decode(states[None, start : start + CHUNK])[0]
        targets = request.prompt[start + 1 : start + 1 + CHUNK]
        found += [scored(row, token, request.num_top or 0) for row, token in zip(logits, targets, strict=False)]
    return found
