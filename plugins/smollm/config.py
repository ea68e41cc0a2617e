"""How a SmolLM3 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import Anatomy, PartlyWindowedConfig, RopeConfig, describe_trunk, layers_in_order, rope_in_words


@dataclass
class SmolLM3Config(PartlyWindowedConfig):
    """SmolLM3 (Hugging Face, 2025); layers without positions after arXiv:2501.18795."""

    family: str = "smollm3"
    nope_layers: list[int] = field(default_factory=list)  # numbers of the layers that do not rotate
    attention_bias: bool = False  # q, k, v and o have biases
    mlp_bias: bool = False  # gate, up and down have biases

    def __post_init__(self) -> None:
        super().__post_init__()
        layers_in_order("nope_layers", self.nope_layers, self.num_layers)

    def anatomy(self) -> Anatomy:
        words = f"{rope_in_words(self.rope)}, none in {len(self.nope_layers)} of {self.num_layers} layers"
        with describe_trunk(
            self, self.heads, position=words, bias=self.attention_bias, window_of=self.window_of
        ) as a:  # fmt: skip
            a.gated_mlp(self.hidden_size, self.intermediate_size, bias=self.mlp_bias)
        a.traits["attention"] += self.window_in_words()
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0), nope_layers=[1, 3], sliding_window=5,
            sliding_layers=[1, 2],
        )  # fmt: skip
