"""How a Falcon is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, describe_trunk, mlp_in_words, rope_in_words
from zoo.errors import ConfigError


@dataclass
class FalconConfig(DecoderConfig):
    """Falcon (arXiv:2311.16867), RefinedWeb (arXiv:2306.01116) and Falcon 2 (arXiv:2407.14885)."""

    family: str = "falcon"
    norm_eps: float = 1e-5  # added to the variance
    tie_embeddings: bool = True  # the output head is the embedding
    has_bias: bool = False  # attention and MLP have biases
    is_parallel: bool = True  # attention and MLP read the same state, and are added at once
    has_mlp_norm: bool = False  # of two parallel branches the MLP has a norm of its own (40B, 180B)
    has_alibi: bool = False  # a penalty on distance, rounded to bfloat16, in place of rotary positions

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.has_mlp_norm and not self.is_parallel:
            raise ConfigError("model.has_mlp_norm=True means nothing without model.is_parallel: there are two norms")

    @property
    def layout(self) -> str:
        """Where the norms of a layer stand."""
        return "pre" if not self.is_parallel else "twin" if self.has_mlp_norm else "parallel"

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position="ALiBi" if self.has_alibi else rope_in_words(self.rope), bias=self.has_bias,
            is_layer_norm=True, layout=self.layout,
        ) as a:  # fmt: skip
            a.mlp(self.hidden_size, self.intermediate_size, bias=self.has_bias)
        a.traits["mlp"] = mlp_in_words("gelu", self.intermediate_size)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=4,
            max_seq_len=64, norm_eps=3e-5, has_mlp_norm=True, rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
