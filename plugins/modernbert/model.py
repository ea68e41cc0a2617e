"""ModernBERT (arXiv:2412.13663), after transformers' port of the released code.

Dropout is left out: these models are for inference, and fine-tuning without it is a choice of its own.

Shapes: B batch, T tokens, D hidden, V vocab, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.anatomy import OF_TOKENS
from zoo.nn import (
    ACTIVATIONS,
    Attention,
    ColumnSpan,
    GatedMLP,
    HeadedOutput,
    Mask,
    PreNormLayer,
    Rope,
    as_rows,
    everything,
    initialise,
    questions_of,
)

from .config import ModernBertConfig


class ModernBert(nn.Module):
    """Token ids to hidden states, each of which has seen the real tokens of its row, and to what a head makes of them.

    Only distances count: a row gives the same numbers wherever it is padded. A sequence is classified by its first
    real token, or by the mean of its real tokens. Texts may be longer than those of training (`model.max_seq_len`).
    """

    def __init__(self, c: ModernBertConfig) -> None:
        super().__init__()
        self.config = c
        self.embed = Embed(c)
        whole = Rope(c.head_dim, c.rope, c.max_seq_len)
        local = Rope(c.head_dim, c.local_rope, c.max_seq_len)
        window = Mask(is_causal=False, window=c.sliding_window // 2 + 1)
        kinds = {True: (whole, everything), False: (local, window)}
        self.layers = nn.ModuleList(_layer(c, i, *kinds[c.is_global(i)]) for i in range(c.num_layers))
        self.norm = _norm(c)
        self.lm_head = VocabularyHead(c) if c.head == "masked_lm" else None
        self.classifier = None if c.num_classes is None else ClassHead(c, c.num_classes)
        if self.lm_head is not None and c.tie_embeddings:
            self.lm_head.decoder.weight = self.embed.tokens.weight

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> HeadedOutput:
        """Encode tokens [B, T]; attention_mask [B, T] is True for real tokens.

        A multiple-choice head reads [B, N, T], all choices of a question; the states are those of B × N rows.
        """
        questions = questions_of(tokens, self.config.head)
        tokens, attention_mask = as_rows(tokens), as_rows(attention_mask)
        span = ColumnSpan(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, span)
        x = self.norm(x)
        if self.lm_head is not None:
            return HeadedOutput(x, logits=self.lm_head(x))
        if self.classifier is None:
            return HeadedOutput(x)
        logits = self.classifier(x if self.config.head in OF_TOKENS else self.pool(x, attention_mask))
        return HeadedOutput(x, logits=logits if questions is None else logits.view(questions))

    def pool(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """One state [B, D] of each row of x [B, T, D]: of its first real token, or the mean of all."""
        is_mean = self.config.pooling == "mean"
        if attention_mask is None:
            return x.mean(1) if is_mean else x[:, 0]
        is_real = attention_mask.bool()
        if is_mean:
            return (x * is_real[..., None]).sum(1) / is_real.sum(1, keepdim=True).clamp(min=1)
        return x[torch.arange(len(x), device=x.device), is_real.int().argmax(1)]

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)


class Embed(nn.Module):
    """norm(token): no positions are added, for layers rotate."""

    def __init__(self, c: ModernBertConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.norm = _norm(c)

    def forward(self, tokens: Tensor) -> Tensor:
        """The states [B, T, D] that enter the layers."""
        return self.norm(self.tokens(tokens))


class HeadTransform(nn.Module):
    """norm(act(dense(x))): what every head begins with."""

    def __init__(self, c: ModernBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(c.hidden_size, c.hidden_size, c.head_bias)
        self.norm = _norm(c)
        self.act = ACTIVATIONS[c.head_activation]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] to [..., D]."""
        return self.norm(self.act(self.dense(x)))


class VocabularyHead(HeadTransform):
    """Scores of every token; the decoder's weight is the token embedding, its bias is its own."""

    def __init__(self, c: ModernBertConfig) -> None:
        super().__init__(c)
        self.decoder = nn.Linear(c.hidden_size, c.vocab_size, c.decoder_bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to logits [B, T, V]."""
        return self.decoder(super().forward(x))


class ClassHead(HeadTransform):
    """Classes of each state."""

    def __init__(self, c: ModernBertConfig, num_classes: int) -> None:
        super().__init__(c)
        self.out_proj = nn.Linear(c.hidden_size, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] to logits [..., C]."""
        return self.out_proj(super().forward(x))


def _layer(c: ModernBertConfig, number: int, rope: Rope, mask: Mask) -> PreNormLayer:
    sizes = c.hidden_size, c.num_heads, c.num_heads, c.head_dim
    return PreNormLayer(
        attn=Attention(*sizes, rope=rope, mask=mask, has_bias=c.attention_bias),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation], bias=c.mlp_bias),
        attn_norm=_norm(c) if number else nn.Identity(),  # the embeddings are normed already
        mlp_norm=_norm(c),
    )


def _norm(c: ModernBertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(c.hidden_size, c.norm_eps, bias=c.norm_bias)
