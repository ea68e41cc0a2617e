"""The config of a model by transformers: config.json as it is, and what other rooms ask of any config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ModelConfig

if TYPE_CHECKING:
    from zoo.anatomy.builder import Anatomy

SIZES = {  # what others call it -> the keys under which transformers' configs have it
    "vocab_size": ("vocab_size",),
    "hidden_size": ("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "emb_dim"),
    "num_layers": ("num_hidden_layers", "num_layers", "n_layer", "n_layers"),
    "max_seq_len": ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "seq_length", "context_length"),
}


@dataclass
class TransformersConfig(ModelConfig):
    """A model of a class of transformers."""

    family: str = "transformers"
    architecture: str = ""  # the class
    raw: dict[str, Any] = field(default_factory=dict)  # config.json

    @property
    def family_in_words(self) -> str:
        """The class, and who computes it."""
        return f"{self.architecture} by transformers"

    def _size(self, name: str) -> int | None:
        groups = [self.raw, *(self.raw[key] for key in ("text_config",) if isinstance(self.raw.get(key), dict))]
        found = (group.get(key) for key in SIZES[name] for group in groups)
        return next((value for value in found if isinstance(value, int) and value > 0), None)

    @property
    def vocab_size(self) -> int | None:
        """Rows of the embedding, as far as config.json says."""
        return self._size("vocab_size")

    @property
    def hidden_size(self) -> int | None:
        """Width of the states, as far as config.json says."""
        return self._size("hidden_size")

    @property
    def num_layers(self) -> int:
        """Layers, as far as config.json says."""
        return self._size("num_layers") or 0

    @property
    def max_seq_len(self) -> int | None:
        """Tokens of context, as far as config.json says."""
        return self._size("max_seq_len")

    def anatomy(self) -> Anatomy:
        """The weights of the class, built on meta, which needs torch; what it attends to and caches is not known."""
        from zoo.models.theirs.model import described

        return described(self)
