"""BERT (arXiv:1810.04805), RoBERTa (arXiv:1907.11692) and DistilBERT (arXiv:1910.01108): what tells them apart.

Where the papers are silent this follows the code of Hugging Face's transformers, whose numbers it reproduces at every
real token. Dropout is left out: these models are for inference, and fine-tuning without it is a choice of its own.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy import OF_TOKENS
from zoo.nn import ACTIVATIONS, Activation, PostNormLayer

from .config import BertConfig, DistilBertConfig, RobertaConfig
from .encoder import Encoder, LayerKind, layers_of
from .fields import LM_HEADS, PAIR_HEADS, EncoderConfig
from .parts import Embeddings, FirstToken, FirstTokenClassifier, MaskedLMHead

DISTILBERT_NORM_EPS = 1e-12  # no config names it


class Bert(Encoder):
    """Positions count columns, padding included: left padding shifts them, as in the reference, so pad on the right."""

    def __init__(self, c: BertConfig) -> None:
        super().__init__(
            c,
            Embeddings(c, c.norm_eps, by_column, num_positions=c.max_seq_len, num_token_types=c.type_vocab_size),
            layers_of(c, c.norm_eps),
            pooler=FirstToken(c.hidden_size, torch.tanh) if c.has_pooler else None,
            lm_head=lm_head_of(c, c.norm_eps, ACTIVATIONS[c.activation]),
            next_sentence=nn.Linear(c.hidden_size, 2) if c.head in PAIR_HEADS else None,
            classifier=None if (classes := c.num_classes) is None else nn.Linear(c.hidden_size, classes),
        )


class Roberta(Encoder):
    """Positions count the tokens that are not `pad_token_id`, whatever the attention mask says, as in the reference.

    Left padding with that token thus moves no position, but what is read from the first column (the pooled state, the
    classes of a sequence) is then read from padding: pad on the right.
    """

    def __init__(self, c: RobertaConfig, kind: LayerKind = PostNormLayer) -> None:
        """Of layers of another kind, whose norms come first: a norm stands behind them all, none at the embeddings."""
        assert c.pad_token_id is not None
        positions, is_post = partial(by_real_token, pad=c.pad_token_id), kind is PostNormLayer
        eps, types = c.norm_eps if is_post else None, c.type_vocab_size
        super().__init__(
            c,
            Embeddings(c, eps, positions, num_positions=c.num_positions, num_token_types=types),
            layers_of(c, c.norm_eps, kind=kind),
            norm=None if is_post else nn.LayerNorm(c.hidden_size, c.norm_eps),
            pooler=FirstToken(c.hidden_size, torch.tanh) if c.has_pooler else None,
            lm_head=lm_head_of(c, c.norm_eps, F.gelu),  # fixed in the reference, whatever model.activation says
            classifier=nn.Linear(c.hidden_size, 1) if c.head == "multiple_choice" else classifier_of(c, torch.tanh),
        )


class DistilBert(Encoder):
    """BERT without token types and pooler; positions count columns, so pad on the right."""

    def __init__(self, c: DistilBertConfig) -> None:
        super().__init__(
            c,
            Embeddings(c, DISTILBERT_NORM_EPS, by_column, num_positions=c.max_seq_len),
            layers_of(c, DISTILBERT_NORM_EPS),
            lm_head=lm_head_of(c, DISTILBERT_NORM_EPS, ACTIVATIONS[c.activation]),
            classifier=classifier_of(c, F.relu),
        )


def by_column(tokens: Tensor) -> Tensor:
    """0, 1, 2, ... for every row of tokens [B, T]: [1, T]."""
    return torch.arange(tokens.shape[1], device=tokens.device)[None]


def by_real_token(tokens: Tensor, pad: int) -> Tensor:
    """pad + 1, pad + 2, ... for the tokens [B, T] other than `pad`, which itself stays at row `pad`: [B, T]."""
    is_real = tokens != pad
    return is_real.cumsum(1) * is_real + pad


def lm_head_of(c: EncoderConfig, norm_eps: float, act: Activation) -> MaskedLMHead | None:
    return MaskedLMHead(c, norm_eps, act) if c.head in LM_HEADS else None


def classifier_of(c: EncoderConfig, act: Activation) -> nn.Module | None:
    if (classes := c.num_classes) is None:
        return None
    if c.head in OF_TOKENS:
        return nn.Linear(c.hidden_size, classes)
    return FirstTokenClassifier(c.hidden_size, classes, act)
