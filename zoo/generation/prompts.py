"""What a caller hands over, brought into one shape: rows of token ids, padded on the left.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError, WrongType
from zoo.generation.protocols import TokenizerLike

Prompts = str | Tensor | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Batch:
    """Prompts as rows of real tokens, and as tokens [B, T] with the mask [B, T] of the real ones (None: all)."""

    rows: list[list[int]]
    tokens: Tensor
    mask: Tensor | None
    inputs: Mapping[str, Any] = field(default_factory=dict)  # further arguments of the model's first pass
    chunk: int | None = None  # tokens of the prompts that are read at a time; None: all

    @property
    def width(self) -> int:
        """Tokens in the longest prompt."""
        return self.tokens.shape[1]


def batch_of(
    prompts: Prompts,
    *,
    tokenizer: TokenizerLike | None = None,
    attention_mask: Tensor | None = None,
    vocab_size: int | None = None,
    device: torch.device | str = "cpu",
) -> Batch:
    """Any kind of prompts as a batch. Raises UsageError for an empty prompt or a token outside the vocabulary."""
    rows = rows_of(prompts, tokenizer, attention_mask)
    if not rows:
        raise UsageError("there is no prompt")
    for number, row in enumerate(rows):
        if not row:
            raise UsageError(f"prompt {number} has no tokens", hint="start it with the model's bos_token_id")
        if min(row) < 0 or (vocab_size is not None and max(row) >= vocab_size):
            wrong = next(t for t in row if t < 0 or (vocab_size is not None and t >= vocab_size))
            raise UsageError(
                f"prompt {number} has the token {wrong}, outside the model's vocabulary of {vocab_size}",
                hint="is this the model's own tokenizer?",
            )
    width = max(map(len, rows))
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = torch.arange(width, device=device) >= width - lengths[:, None]
    return Batch(rows, tokens, None if min(map(len, rows)) == width else mask)


def has_text(prompts: Prompts) -> bool:
    """Whether any prompt is a text, for which a tokenizer is needed. Raises UsageError for what holds no prompts."""
    _check(prompts)
    return isinstance(prompts, str) or (not isinstance(prompts, Tensor) and any(isinstance(p, str) for p in prompts))


def _check(prompts: object) -> None:
    if isinstance(prompts, bytes | bytearray) or not isinstance(prompts, Sequence | Tensor):  # a generator is read once
        hint = "prompts.tolist() are token ids" if hasattr(prompts, "tolist") else ""
        raise WrongType("the prompt", prompts, "a text, token ids, or a list of either", hint=hint)


def rows_of(prompts: Prompts, tokenizer: TokenizerLike | None, attention_mask: Tensor | None) -> list[list[int]]:
    """The real token ids of every prompt."""
    _check(prompts)
    if isinstance(prompts, Tensor):
        return _tensor_rows(prompts, attention_mask)
    if attention_mask is not None:
        raise UsageError("attention_mask is for a tensor of tokens; lists do not need one")
    listed: list[object] = [prompts] if isinstance(prompts, str) else list(prompts)
    if listed and all(isinstance(item, int) for item in listed):
        listed = [listed]
    return [_row(item, number, tokenizer) for number, item in enumerate(listed)]


def _tensor_rows(tokens: Tensor, attention_mask: Tensor | None) -> list[list[int]]:
    if tokens.dim() != 2 or tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise UsageError(f"prompts {list(tokens.shape)} of {tokens.dtype} are not token ids [B, T]")
    if attention_mask is None:
        return tokens.tolist()
    if attention_mask.shape != tokens.shape:
        raise UsageError(f"attention_mask {list(attention_mask.shape)} does not have the shape {list(tokens.shape)}")
    return [row[real].tolist() for row, real in zip(tokens.cpu(), attention_mask.bool().cpu(), strict=True)]


def _row(prompt: object, number: int, tokenizer: TokenizerLike | None) -> list[int]:
    if isinstance(prompt, str):
        if tokenizer is None:
            raise UsageError("text prompts need a tokenizer", hint="give tokenizer=, or token ids as prompts")
        return tokenizer.encode(prompt)
    ids = prompt.tolist() if isinstance(prompt, Tensor) else prompt
    if not isinstance(ids, Sequence) or not all(type(token) is int for token in ids):
        hint = "tokenizer.encode_chat(messages) gives the tokens of a conversation" if isinstance(prompt, dict) else ""
        raise UsageError(f"prompt {number} is {type(prompt).__name__}, not a text or a list of token ids", hint=hint)
    return list(ids)
