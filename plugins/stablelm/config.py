"""How a StableLM is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, describe_trunk, rope_in_words, rotary_pairs


@dataclass
class StableLMConfig(DecoderConfig):
    """StableLM 3B-4E1T (Stability AI, 2023) and StableLM 2 (arXiv:2402.17834)."""

    family: str = "stablelm"
    norm_eps: float = 1e-5  # added to the variance
    attention_bias: bool = False  # q, k and v have biases; o never has
    has_qk_norm: bool = False  # queries and keys are normed, each head with weights of its own
    is_parallel: bool = False  # attention and MLP read the same normed state, and are added at once
    rope: RopeConfig = field(default_factory=lambda: RopeConfig(partial=0.25))  # rotary positions

    def __post_init__(self) -> None:
        super().__post_init__()
        rotary_pairs(self.rope.partial, self.head_dim)

    @property
    def layout(self) -> str:
        """Where the norms of a layer stand."""
        return "parallel" if self.is_parallel else "pre"

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, out_bias=False,
            is_layer_norm=True, layout=self.layout, is_whole=self.has_qk_norm,
        ) as a:  # fmt: skip
            a.gated_mlp(self.hidden_size, self.intermediate_size)
            if self.has_qk_norm:
                a.weight("attn.q_norm.weight", (self.num_heads, self.head_dim), "norm")
                a.weight("attn.k_norm.weight", (self.num_kv_heads, self.head_dim), "norm")
        a.traits["attention"] += ", q and k normed" if self.has_qk_norm else ""
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=48, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=8,
            max_seq_len=64, norm_eps=3e-5, has_qk_norm=True, rope=RopeConfig(theta=1000.0, partial=0.25),
        )  # fmt: skip
