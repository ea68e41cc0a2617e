"""MPNet (arXiv:2004.09297): BERT without token types, whose scores have a bias per distance that all layers share.

Permuted prediction is how it was pretrained; what was released is this encoder, whose every token sees all others.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn import RelativeBias

from ..encoder import Encoder, layers_of
from ..model import by_real_token, classifier_of, lm_head_of
from ..parts import Embeddings, FirstToken
from .config import MAX_DISTANCE, NUM_BUCKETS, PADDING, MPNetConfig


class MPNet(Encoder):
    """Positions count the tokens that are not token 1, as in the reference: pad on the right."""

    def __init__(self, c: MPNetConfig) -> None:
        bias = RelativeBias(c.num_heads, NUM_BUCKETS, MAX_DISTANCE, is_bidirectional=True)
        positions = partial(by_real_token, pad=PADDING)
        super().__init__(
            c,
            Embeddings(c, c.norm_eps, positions, num_positions=c.num_positions),
            layers_of(c, c.norm_eps, bias=bias),
            pooler=FirstToken(c.hidden_size, torch.tanh) if c.has_pooler else None,
            lm_head=lm_head_of(c, c.norm_eps, F.gelu),  # fixed in the reference, whatever model.activation says
            classifier=nn.Linear(c.hidden_size, 1) if c.head == "multiple_choice" else classifier_of(c, torch.tanh),
        )
