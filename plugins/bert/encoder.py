"""The trunk of the three families, and the parts that are put on it.

Shapes: B batch, N choices, T tokens, D hidden, V vocab, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor, nn
from torch.export import register_dataclass

from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, MLP, Activation, Attention, PostNormLayer, Span, everything, initialise

from .config import EncoderConfig

Positions = Callable[[Tensor], Tensor]  # tokens [B, T] -> rows of the position table, [B or 1, T]


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder gives; parts that the model does not have are None."""

    hidden: Tensor  # [B, T, D]; what stands at padding has no meaning
    pooled: Tensor | None = None  # [B, D], from each row's first column
    # masked LM [B, T, V], token classes [B, T, C], beginning and end of an answer [B, T, 2], classes of a sequence
    # [B, C] or of its choices [B, N]
    logits: Tensor | None = None
    next_sentence: Tensor | None = None  # [B, 2]: the second sentence follows the first (0), or is a random one (1)


register_dataclass(EncoderOutput)  # as a tree of tensors, without which torch.export refuses the model


class Encoder(nn.Module):
    """Token ids to hidden states, each of which has seen all real tokens of its row, and to what heads make of them.

    Padding is never attended to: right-padded and unpadded rows give the same numbers. How left padding moves the
    positions is each family's own; a row of nothing but padding gives finite numbers without meaning.
    """

    def __init__(
        self,
        c: EncoderConfig,
        embed: Embeddings,
        norm_eps: float,
        *,
        pooler: nn.Module | None = None,
        lm_head: MaskedLMHead | None = None,
        next_sentence: nn.Module | None = None,
        classifier: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = c
        self.embed = embed
        self.layers = nn.ModuleList(_layer(c, norm_eps) for _ in range(c.num_layers))
        self.pooler, self.lm_head, self.next_sentence = pooler, lm_head, next_sentence
        self.classifier = classifier
        if lm_head is not None and c.tie_embeddings:
            lm_head.decoder.weight = embed.tokens.weight

    def forward(
        self, tokens: Tensor, token_types: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> EncoderOutput:
        """Encode tokens [B, T]; token_types [B, T] are 0 if None; attention_mask [B, T] is True for real tokens.

        A multiple-choice head reads [B, N, T], all choices of a question; the states are those of B × N rows.
        Raises UsageError for more tokens than model.max_seq_len, and for token types that the model does not have.
        """
        questions = None if tokens.ndim == 2 else self._questions(tokens)
        tokens, token_types, attention_mask = _as_rows(tokens), _as_rows(token_types), _as_rows(attention_mask)
        batch_size, num_tokens = tokens.shape
        span = Span(batch_size, num_tokens, tokens.device, attention_mask=attention_mask)
        x = self.embed(tokens, token_types)
        for layer in self.layers:
            x = layer(x, span)
        pooled = None if self.pooler is None else self.pooler(x)
        logits = None if self.lm_head is None else self.lm_head(x)
        if self.classifier is not None:
            logits = self.classifier(x if pooled is None else pooled)
        if questions is not None and logits is not None:
            logits = logits.view(questions)
        next_sentence = None if self.next_sentence is None else self.next_sentence(pooled)
        return EncoderOutput(x, pooled, logits, next_sentence)

    def _questions(self, tokens: Tensor) -> torch.Size:
        """[B, N] of tokens [B, N, T]. Raises UsageError where the head knows of no choices."""
        if tokens.ndim != 3 or self.config.head != "multiple_choice":
            what = f"tokens of shape {list(tokens.shape)}: model.head={self.config.head!r} reads [rows, tokens]"
            raise UsageError(what, hint="only a multiple-choice head reads [questions, choices, tokens]")
        return tokens.shape[:2]

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)


class Embeddings(nn.Module):
    """norm(token + token type + position). `positions` tells the rows of the position table."""

    def __init__(
        self,
        c: EncoderConfig,
        norm_eps: float,
        positions: Positions,
        *,
        num_positions: int,
        num_token_types: int | None = None,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.positions = nn.Embedding(num_positions, c.hidden_size)
        self.token_types = None if num_token_types is None else nn.Embedding(num_token_types, c.hidden_size)
        self.norm = nn.LayerNorm(c.hidden_size, norm_eps)
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
        return self.norm(x + self.positions(self.place(tokens)))


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
        self.dense = nn.Linear(c.hidden_size, c.hidden_size)
        self.norm = nn.LayerNorm(c.hidden_size, norm_eps)
        self.decoder = nn.Linear(c.hidden_size, c.vocab_size)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to logits [B, T, V]."""
        return self.decoder(self.norm(self.act(self.dense(x))))


@overload
def _as_rows(x: Tensor) -> Tensor: ...
@overload
def _as_rows(x: None) -> None: ...
def _as_rows(x: Tensor | None) -> Tensor | None:
    """[B, N, T] as [B × N, T]; [B, T] as it is."""
    return None if x is None else x.flatten(0, -2)


def _layer(c: EncoderConfig, norm_eps: float) -> PostNormLayer:
    head_dim = c.hidden_size // c.num_heads
    return PostNormLayer(
        attn=Attention(c.hidden_size, c.num_heads, c.num_heads, head_dim, mask=everything, has_bias=True),
        mlp=MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation]),
        attn_norm=nn.LayerNorm(c.hidden_size, norm_eps),
        mlp_norm=nn.LayerNorm(c.hidden_size, norm_eps),
    )
