"""How tokens of the sandbox know where they stand, and where their prefix ends; apart from `model` for its length.

Shapes: B batch, T tokens, D hidden.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn import Alibi, DualChunkRope, LearnedPositions, RelativeBias, Rope, Span, has_values, sinusoids

from .config import SandboxConfig


class Rotations:
    """The rotary angles of layers that see all, of those with a window, and of chunks; shared between layers."""

    def __init__(self, c: SandboxConfig) -> None:
        self.everywhere = self.local = self.chunked = None
        if c.position.kind != "rope":
            return
        if c.attention.kind == "dca":
            sizes = {"chunk_size": c.attention.chunk_size, "local_size": c.attention.local_size}
            self.chunked = DualChunkRope(c.head_dim, c.rope, c.max_seq_len, **sizes)
            return
        make = partial(Rope, c.rotary_dim, max_seq_len=c.max_seq_len, is_interleaved=c.position.is_interleaved)
        self.everywhere = make(rope=c.rope)
        self.local = make(rope=c.local_rope) if c.has_local_rope else self.everywhere


class SinusoidalPositions(nn.Module):
    """Sinusoids to add to the embeddings (arXiv:1706.03762). Holds no tensor."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, span: Span) -> Tensor:
        """[B or 1, T, D] of the new tokens, in float64."""
        return sinusoids(span.positions, self.dim, torch.float64)


def prefix_reach(tokens: Tensor, span: Span, mark: int) -> Tensor | None:
    """For tokens [B, T] the last position that each sees; None: its own. A row without the mark is no prefix.

    Raises UsageError for a mark in a later pass, which would end a prefix of which a part has been read.
    """
    is_mark = tokens == mark if span.padding is None else (tokens == mark) & span.padding
    if span.start > 0:
        if span.num_new > 1 and has_values(tokens) and bool(is_mark.any()):
            hint = "give all tokens up to it to an empty cache in one pass, and later tokens one by one"
            raise UsageError(f"a prefix that ends with token {mark} is read in one pass", hint=hint)
        return None
    at = span.positions.expand_as(tokens)
    first = torch.where(is_mark, at, tokens.shape[1]).amin(1, keepdim=True)  # beyond all where there is none
    length = torch.where(first < tokens.shape[1], first, 0)
    if has_values(tokens) and not bool(length.any()):
        return None
    return torch.where(at < length, length - 1, at)


def added_positions(c: SandboxConfig) -> nn.Module | None:
    if c.position.kind == "learned":
        return LearnedPositions(c.max_seq_len, c.hidden_size)
    return SinusoidalPositions(c.hidden_size) if c.position.kind == "sinusoidal" else None


def score_bias(c: SandboxConfig) -> Alibi | RelativeBias | None:
    """What is added to the scores, the same in all layers."""
    if c.position.kind == "alibi":
        return Alibi(c.num_heads)
    if c.position.kind == "t5":
        return RelativeBias(c.num_heads, c.position.num_buckets, c.position.max_distance, is_bidirectional=False)
    return None
