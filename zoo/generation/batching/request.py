"""What is asked of the engine, and what it gives back piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from zoo.errors import ZooError
from zoo.generation.config import GenerationConfig


class QueueFull(ZooError):
    """There is no room for another request until one of those before it is done."""


@dataclass(frozen=True)
class TokenScore:
    """The natural logarithm of a token's probability as the model gave it, and those of the likeliest tokens."""

    token: int
    log_prob: float
    top: list[tuple[int, float]]  # the likeliest first


@dataclass(eq=False)
class Request:
    """One prompt to continue, `config.num_return_sequences` times."""

    prompt: list[int]
    config: GenerationConfig
    inputs: Mapping[str, Any] = field(default_factory=dict)  # further arguments of the model's first pass
    num_top: int | None = None  # likeliest tokens to tell of at each step; None: no probabilities at all
    number: int = 0  # which row of a call the first text is: a seed gives each row numbers of its own
    scores_prompt: bool = False  # whether the tokens of the prompt get probabilities too
    only_reads: bool = False  # whether nothing is to be generated
    is_cancelled: bool = False  # set by whoever asked, at any time: the rows are then free at the next step
    prompt_scores: list[TokenScore | None] | None = None  # of the first token there is none


@dataclass(frozen=True)
class Growth:
    """What one text of a request grew by in a step."""

    request: Request
    number: int  # which of the request's texts
    text: str = ""
    tokens: tuple[int, ...] = ()
    scores: tuple[TokenScore, ...] = ()
    finish_reason: str | None = None  # eos | stop | length
    error: ZooError | None = None  # why the whole request ended; nothing more comes of it


def scored(logits: Tensor, token: int, num_top: int) -> TokenScore:
    """The score of `token` by raw logits [V]."""
    log_probs = logits.float().log_softmax(-1)
    best = log_probs.topk(min(num_top, len(log_probs)))
    top = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return TokenScore(token, float(log_probs[token]), top)
