"""What models under a head give, and how encoders read the choices of a question as rows.

Shapes: B batch, N choices, T tokens, D hidden, V vocab, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor
from torch.export import register_dataclass

from zoo.errors import UsageError


@dataclass(frozen=True)
class HeadedOutput:
    """What a model gives whose head is one of several, or none."""

    hidden: Tensor  # [B, T, D], of the last layer, normed; what stands at padding has no meaning
    # masked LM [B, T, V], token classes [B, T, C], beginning and end of an answer [B, T, 2], classes of a sequence
    # [B, C] or of its choices [B, N]; None without a head
    logits: Tensor | None = None


register_dataclass(HeadedOutput)  # as a tree of tensors, without which torch.export refuses the model


def questions_of(tokens: Tensor, head: str) -> torch.Size | None:
    """[B, N] of tokens [B, N, T]; None for [B, T]. Raises UsageError where the head knows of no choices."""
    if tokens.ndim == 2:
        return None
    if tokens.ndim != 3 or head != "multiple_choice":
        what = f"tokens of shape {list(tokens.shape)}: model.head={head!r} reads [rows, tokens]"
        raise UsageError(what, hint="only a multiple-choice head reads [questions, choices, tokens]")
    return tokens.shape[:2]


@overload
def as_rows(x: Tensor) -> Tensor: ...
@overload
def as_rows(x: None) -> None: ...
def as_rows(x: Tensor | None) -> Tensor | None:
    """[B, N, T] as [B × N, T]; [B, T] as it is."""
    return None if x is None else x.flatten(0, -2)
