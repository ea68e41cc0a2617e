"""What stands before and behind the layers of an encoder: its embeddings, its pooler, its heads.

Shapes: B batch, T tokens, D hidden, V vocab, C classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn import Activation

from .fields import EncoderConfig

Positions = Callable[[Tensor], Tensor]  # tokens [B, T] -> rows of the position table, [B or 1, T]


class Embeddings(nn.Module):
    """norm(token + token type + position), projected if they have a width of their own.

    `positions` tells the rows of the position table. Without an eps there is no norm.
    """

    def __init__(
        self,
        c: EncoderConfig,
        norm_eps: float | None,
        positions: Positions,
        *,
        num_positions: int,
        num_token_types: int | None = None,
        proj: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(c.vocab_size, c.width)
        self.positions = nn.Embedding(num_positions, c.width)
        self.token_types = None if num_token_types is None else nn.Embedding(num_token_types, c.width)
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(c.width, norm_eps)
        self.proj = nn.Identity() if proj is None else proj
        self.place, self.max_seq_len = positions, c.max_seq_len

    def forward(self, tokens: Tensor, token_types: Tensor | None = None) -> Tensor:
        """The states [B, T, D] that enter the layers."""
        if tokens.shape[1] > self.max_seq_len:
            raise UsageError(f"{tokens.shape[1]} tokens are more than model.max_seq_len={self.max_seq_len}")
        x = self.tokens(tokens)
        if self.token_types is not None:
            x = x + self.token_types(torch.zeros_like(tokens) if token_types is None else token_types)
        elif token_types is not None:
            raise UsageError("this model has no token types", hint="leave token_types out")
        return self.proj(self.norm(x + self.positions(self.place(tokens))))


class FirstToken(nn.Module):
    """act(dense(x)) of each row's first column: BERT's pooler, and the body of a classification head."""

    def __init__(self, hidden_size: int, act: Activation) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to [B, D]."""
        return self.act(self.dense(x[:, 0]))


class FirstTokenClassifier(FirstToken):
    """Classes of a sequence from its first column, without a pooler."""

    def __init__(self, hidden_size: int, num_labels: int, act: Activation) -> None:
        super().__init__(hidden_size, act)
        self.out_proj = nn.Linear(hidden_size, num_labels)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to logits [B, C]."""
        return self.out_proj(super().forward(x))


class MaskedLMHead(nn.Module):
    """decoder(norm(act(dense(x)))); the decoder's weight is the token embedding, its bias is its own."""

    def __init__(self, c: EncoderConfig, norm_eps: float, act: Activation) -> None:
        super().__init__()
        self.dense = nn.Linear(c.hidden_size, c.width)
        self.norm = nn.LayerNorm(c.width, norm_eps)
        self.decoder = nn.Linear(c.width, c.vocab_size)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to logits [B, T, V]."""
        return self.decoder(self.norm(self.act(self.dense(x))))
