"""ELECTRA (arXiv:2003.10555): a discriminator that tells which tokens a small generator has replaced.

Shapes: B batch, T tokens, D hidden.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import ACTIVATIONS, Activation

from ..encoder import Encoder, layers_of
from ..model import by_column, classifier_of, lm_head_of
from ..parts import Embeddings, FirstTokenClassifier
from .config import ElectraConfig


class Electra(Encoder):
    """BERT without a pooler, its embeddings of a width of their own; positions count columns, so pad on the right."""

    def __init__(self, c: ElectraConfig) -> None:
        super().__init__(
            c,
            Embeddings(
                c, c.norm_eps, by_column, num_positions=c.max_seq_len, num_token_types=c.type_vocab_size,
                proj=None if c.embed_size == c.hidden_size else nn.Linear(c.embed_size, c.hidden_size),
            ),
            layers_of(c, c.norm_eps),
            lm_head=lm_head_of(c, c.norm_eps, F.gelu),  # fixed in the reference, whatever model.activation says
            classifier=_classifier(c),
        )  # fmt: skip


class TokenDetector(nn.Module):
    """Which tokens are not those of the text: out_proj(act(dense(x))), above 0 for one that was replaced."""

    def __init__(self, hidden_size: int, act: Activation) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, 1)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to logits [B, T]."""
        return self.out_proj(self.act(self.dense(x))).squeeze(-1)


def _classifier(c: ElectraConfig) -> nn.Module | None:
    if c.head == "replaced_tokens":
        return TokenDetector(c.hidden_size, ACTIVATIONS[c.activation])
    if c.head == "multiple_choice":
        return FirstTokenClassifier(c.hidden_size, 1, F.gelu)
    return classifier_of(c, F.gelu)
