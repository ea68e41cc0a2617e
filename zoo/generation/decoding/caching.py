"""A model whose caches are kept in fewer bits than it computes in."""

from __future__ import annotations

from typing import Any

from zoo.generation.protocols import LanguageModel
from zoo.nn.rounded_cache import int8_cache


class InSmallCaches:
    """The model as it is, but for what `new_cache` gives."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.model(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    @property
    def config(self) -> Any:
        """The family's config."""
        return self.model.config

    def new_cache(self, batch_size: int, max_len: int) -> Any:
        """An empty cache in int8. Raises UsageError for a model that keeps no keys and values."""
        return int8_cache(self.model, batch_size, max_len)
