"""Guidance away from what the model would say without the prompt (arXiv:2306.17806), as transformers has it.

Shapes: R rows, T tokens so far, V vocab.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.generation.history import History
from zoo.generation.protocols import LanguageModel


class Guidance:
    """Log probabilities moved away, by a factor, from those that follow the prompt's last token alone."""

    def __init__(self, model: LanguageModel, scale: float) -> None:
        self.model, self.scale = model, scale
        self._cache: Any = None

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        """Scores [R, V]; each call reads the newest token of every row."""
        if self._cache is None:
            self._cache = self.model.new_cache(scores.shape[0], int(history.limits.max()))
        logits = self.model(history.tokens[:, -1:], cache=self._cache, last=True)
        without = logits[:, -1].to(scores.dtype).log_softmax(-1)
        return without + self.scale * (scores.log_softmax(-1) - without)
