"""A model inside a larger one (MatFormer, arXiv:2310.07707): which part of the larger one's weights it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.anatomy.config import ModelConfig


@dataclass(frozen=True)
class Nested:
    """Some layers of the larger model `whole`, in their order; of weights that are narrower the first channels.

    A weight of `by_layer` has a block of each layer, along the dimension in which the two models' differ.
    """

    name: str  # what model.slice asked for
    whole: ModelConfig
    layers: tuple[int, ...]
    by_layer: frozenset[str]
    words: str  # what is taken, and of what

    def __str__(self) -> str:
        return f"model.slice={self.name} takes {self.words}; the other weights are left out"
