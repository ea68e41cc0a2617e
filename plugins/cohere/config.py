"""How a Command R is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, PartlyWindowedConfig, RopeConfig, describe_trunk, rope_in_words


@dataclass
class CohereConfig(PartlyWindowedConfig):
    """Command R (Cohere, 2024), Aya (arXiv:2412.04261); with a window Command R7B and Command A (arXiv:2504.00698)."""

    family: str = "cohere"
    norm_eps: float = 1e-5  # added to the variance
    tie_embeddings: bool = True  # the output head is the embedding
    logit_scale: float = 0.0625  # factor on the logits
    attention_bias: bool = False  # q, k, v and o have biases
    has_qk_norm: bool = False  # queries and keys are normed, each head with weights of its own (Command R+)

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, window_of=self.window_of,
            is_layer_norm=True, norm_bias=False, layout="parallel",
            is_whole=self.has_qk_norm,
        ) as a:  # fmt: skip
            a.gated_mlp(self.hidden_size, self.intermediate_size)
            if self.has_qk_norm:
                a.weight("attn.q_norm.weight", (self.num_heads, self.head_dim), "norm")
                a.weight("attn.k_norm.weight", (self.num_kv_heads, self.head_dim), "norm")
        a.traits["attention"] += self.window_in_words() + (", q and k normed" if self.has_qk_norm else "")
        a.traits["position"] += ", in layers with a window alone" if self.sliding_window else ""
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=4,
            max_seq_len=64, norm_eps=3e-5, logit_scale=0.7, rope=RopeConfig(theta=1000.0), sliding_window=5,
            sliding_layers=[0, 1, 2],
        )  # fmt: skip
