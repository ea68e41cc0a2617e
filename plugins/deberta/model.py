"""DeBERTa v2 and v3 (arXiv:2006.03654, arXiv:2111.09543), after transformers' port of the released code.

Dropout is left out: these models are for inference, and fine-tuning without it is a choice of its own.

Shapes: B batch, T tokens, D hidden, V vocab, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.anatomy import OF_TOKENS
from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, MLP, Activation, HeadedOutput, Span, as_rows, initialise, questions_of

from .attention import DisentangledAttention, Distances, DistanceTable
from .config import DebertaConfig

ACTS: dict[str, Activation] = ACTIVATIONS | {"tanh": torch.tanh}


class Deberta(nn.Module):
    """Token ids to hidden states, each of which has seen the real tokens of its row, and to what a head makes of them.

    Only distances count, unless `model.has_positions`, which are those of columns. A sequence is classified by its
    first column, as in the reference, so pad on the right. Texts may be longer than those of training.
    """

    def __init__(self, c: DebertaConfig) -> None:
        super().__init__()
        self.config = c
        self.embed = DebertaEmbeddings(c)
        self.distances = DistanceTable(c)
        self.layers = nn.ModuleList(DebertaLayer(c, has_conv=i == 0) for i in range(c.num_layers))
        self.lm_head = TiedHead(c) if c.head == "masked_lm" else None
        self.classifier = None if c.num_classes is None else classifier_of(c, c.num_classes)
        if self.lm_head is not None:
            self.lm_head.decoder.weight = self.embed.tokens.weight

    def forward(
        self, tokens: Tensor, token_types: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> HeadedOutput:
        """Encode tokens [B, T]; token_types [B, T] are 0 if None; attention_mask [B, T] is True for real tokens.

        A multiple-choice head reads [B, N, T], all choices of a question; the states are those of B × N rows.
        Raises UsageError for token types that the model does not have, and for several documents in a row where a
        layer reads across their borders.
        """
        questions = questions_of(tokens, self.config.head)
        tokens, token_types, attention_mask = as_rows(tokens), as_rows(token_types), as_rows(attention_mask)
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
        if span.documents is not None and (self.config.has_positions or self.config.conv_kernel_size is not None):
            raise UsageError("attention_mask numbers several documents, and this model reads across their borders")
        x = self.embed(tokens, token_types, span.padding)
        distances = self.distances(tokens.shape[1])
        for layer in self.layers:
            x = layer(x, span, distances)
        head = self.lm_head if self.classifier is None else self.classifier
        if head is None:
            return HeadedOutput(x)
        logits = head(x)
        return HeadedOutput(x, logits if questions is None else logits.view(questions))

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)


class DebertaEmbeddings(nn.Module):
    """norm(token + position + token type), of which v3 has the first alone; 0 at padding, which a convolution reads."""

    def __init__(self, c: DebertaConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.positions = nn.Embedding(c.max_seq_len, c.hidden_size) if c.has_positions else None
        self.token_types = nn.Embedding(c.type_vocab_size, c.hidden_size) if c.type_vocab_size else None
        self.norm = nn.LayerNorm(c.hidden_size, c.norm_eps)

    def forward(self, tokens: Tensor, token_types: Tensor | None = None, is_real: Tensor | None = None) -> Tensor:
        """The states [B, T, D] that enter the layers."""
        x = self.tokens(tokens)
        if self.positions is not None:
            if tokens.shape[1] > self.positions.num_embeddings:
                limit = self.positions.num_embeddings
                raise UsageError(f"{tokens.shape[1]} tokens are more than model.max_seq_len={limit}")
            x = x + self.positions.weight[: tokens.shape[1]]
        if self.token_types is not None:
            x = x + self.token_types(torch.zeros_like(tokens) if token_types is None else token_types)
        elif token_types is not None:
            raise UsageError("this model has no token types", hint="leave token_types out")
        x = self.norm(x)
        return x if is_real is None else x.masked_fill(~is_real[..., None], 0.0)


class DebertaLayer(nn.Module):
    """norm(x + attn(x)), then norm(x + mlp(x)); in v2 a convolution of what entered the first layer is added behind."""

    def __init__(self, c: DebertaConfig, *, has_conv: bool) -> None:
        super().__init__()
        self.attn = DisentangledAttention(c)
        self.attn_norm = nn.LayerNorm(c.hidden_size, c.norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size, ACTS[c.activation])
        self.mlp_norm = nn.LayerNorm(c.hidden_size, c.norm_eps)
        self.conv = Convolution(c, c.conv_kernel_size) if has_conv and c.conv_kernel_size is not None else None

    def forward(self, x: Tensor, span: Span, distances: Distances) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        y = self.attn_norm(x + self.attn(x, span, distances))
        y = self.mlp_norm(y + self.mlp(y))
        return y if self.conv is None else self.conv(x, y)


class Convolution(nn.Module):
    """norm(y + act(conv(x))): neighbouring tokens mixed, for phrases of a few words."""

    def __init__(self, c: DebertaConfig, kernel_size: int) -> None:
        super().__init__()
        dim = c.hidden_size
        self.proj = nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2, groups=c.conv_groups)
        self.norm = nn.LayerNorm(dim, c.norm_eps)
        self.act = ACTS[c.conv_activation]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x and y [B, T, D] to [B, T, D]."""
        return self.norm(y + self.act(self.proj(x.mT).mT))


class TiedHead(nn.Module):
    """decoder(norm(act(dense(x)))); the decoder's weight is the token embedding, its bias is its own."""

    def __init__(self, c: DebertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(c.hidden_size, c.hidden_size)
        self.norm = nn.LayerNorm(c.hidden_size, c.norm_eps)
        self.decoder = nn.Linear(c.hidden_size, c.vocab_size)
        self.act = ACTS[c.activation]

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to logits [B, T, V]."""
        return self.decoder(self.norm(self.act(self.dense(x))))


class TextClassifier(nn.Module):
    """Classes of a sequence from its first column."""

    def __init__(self, c: DebertaConfig, num_classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(c.hidden_size, c.hidden_size)
        self.out_proj = nn.Linear(c.hidden_size, num_classes)
        self.act = ACTS[c.pooler_activation]

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to logits [B, C]."""
        return self.out_proj(self.act(self.dense(x[:, 0])))


def classifier_of(c: DebertaConfig, num_classes: int) -> nn.Module:
    """A projection of each token's state, or more of the first one's."""
    return nn.Linear(c.hidden_size, num_classes) if c.head in OF_TOKENS else TextClassifier(c, num_classes)
