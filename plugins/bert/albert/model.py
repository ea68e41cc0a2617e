"""ALBERT (arXiv:1909.11942): a stack that passes through the same layers many times."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from zoo.nn import ACTIVATIONS

from ..encoder import Encoder, layers_of
from ..model import by_column, lm_head_of
from ..parts import Embeddings, FirstToken
from .config import AlbertConfig


class Albert(Encoder):
    """`layers` are those with weights of their own. Positions count columns, so pad on the right."""

    def __init__(self, c: AlbertConfig) -> None:
        super().__init__(
            c,
            Embeddings(
                c, c.norm_eps, by_column, num_positions=c.max_seq_len, num_token_types=c.type_vocab_size,
                proj=nn.Linear(c.embed_size, c.hidden_size),
            ),
            layers_of(c, c.norm_eps, count=c.num_layer_groups * c.layers_per_group),
            pooler=FirstToken(c.hidden_size, torch.tanh) if c.has_pooler else None,
            lm_head=lm_head_of(c, c.norm_eps, ACTIVATIONS[c.activation]),
            next_sentence=nn.Linear(c.hidden_size, 2) if c.head == "pretraining" else None,
            classifier=None if (classes := c.num_classes) is None else nn.Linear(c.hidden_size, classes),
        )  # fmt: skip
        self.order = c.order

    def passes(self) -> Iterator[nn.Module]:
        return (self.layers[i] for i in self.order)
