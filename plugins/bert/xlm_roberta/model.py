"""XLM-RoBERTa (arXiv:1911.02116): RoBERTa's model, and the same with norms that come first (arXiv:2105.00572)."""

from __future__ import annotations

from zoo.nn import PostNormLayer, PreNormLayer

from ..model import Roberta
from .config import XLMRobertaConfig


class XLMRoberta(Roberta):
    """Positions count real tokens, as RoBERTa's do: pad on the right."""

    def __init__(self, c: XLMRobertaConfig) -> None:
        super().__init__(c, PreNormLayer if c.is_pre_norm else PostNormLayer)
