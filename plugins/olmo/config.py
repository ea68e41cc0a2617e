"""How an OLMo 2 or 3 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import Anatomy, PartlyWindowedConfig, RopeConfig, describe_trunk, rope_in_words


@dataclass
class Olmo2Config(PartlyWindowedConfig):
    """OLMo 2 (arXiv:2501.00656) and, with a window, OLMo 3 (arXiv:2512.13961)."""

    family: str = "olmo2"
    attention_bias: bool = False  # q, k, v and o have biases
    local_rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions of layers with a window (OLMo 3)

    def anatomy(self) -> Anatomy:
        q, kv = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, window_of=self.window_of,
            layout="branch", is_whole=True,
        ) as a:  # fmt: skip
            a.gated_mlp(self.hidden_size, self.intermediate_size)
            a.norm("attn.q_norm", q)
            a.norm("attn.k_norm", kv)
        a.traits["attention"] += self.window_in_words() + ", q and k normed"
        if self.sliding_window and self.local_rope != self.rope:
            a.traits["position"] += f", local {rope_in_words(self.local_rope).removeprefix('RoPE ')}"
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, sliding_window=5, sliding_layers=[0, 1, 2],
            rope=RopeConfig(theta=1000.0, scaling="yarn", factor=4.0, original_max_seq_len=16),
            local_rope=RopeConfig(theta=100.0),
        )  # fmt: skip
