"""How a MiniCPM or MiniCPM 3 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    DecoderConfig,
    RopeConfig,
    at_least,
    even,
    rope_in_words,
)

TINY = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_layers": 3, "num_heads": 6, "max_seq_len": 64,
    "norm_eps": 3e-5, "embedding_multiplier": 3.0, "scale_depth": 1.1, "base_size": 9,
}  # fmt: skip


@dataclass
class MiniCPMConfig(DecoderConfig):
    """MiniCPM 1B and 2B (arXiv:2404.06395)."""

    family: str = "minicpm"
    tie_embeddings: bool = True  # the output head is the embedding
    embedding_multiplier: float = 1.0  # factor on the embeddings
    scale_depth: float = 1.4  # what each branch adds is multiplied by it, over the root of the number of layers
    base_size: int = 256  # what enters the head is divided by hidden_size over this width

    def anatomy(self) -> Anatomy:
        return self.gated_anatomy()

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, num_kv_heads=2, head_dim=4, rope=RopeConfig(theta=1000.0))


@dataclass
class MiniCPM3Config(MiniCPMConfig):
    """MiniCPM 3 4B (OpenBMB, 2024), after the report on its predecessor (arXiv:2404.06395)."""

    family: str = "minicpm3"
    q_lora_rank: int | None = None  # width that queries are squeezed through; None: they are not
    kv_lora_rank: int = MISSING  # width of the latent that keys and values are rebuilt from
    nope_head_dim: int = MISSING  # channels of a query or key head that know no position
    rope_head_dim: int = MISSING  # rotary channels of a query head, and of the one key that all heads share
    v_head_dim: int = MISSING  # channels of a value head
    attention_bias: bool = False  # the down-projections of queries and latent, and the output, have biases

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, q_lora_rank=self.q_lora_rank, kv_lora_rank=self.kv_lora_rank, nope_head_dim=self.nope_head_dim)
        at_least(1, v_head_dim=self.v_head_dim)
        even("model.rope_head_dim", self.rope_head_dim)

    def anatomy(self) -> Anatomy:
        a, layers, d = Anatomy(max_seq_len=self.max_seq_len), range(self.num_layers), self.hidden_size
        ranks = {"q_lora_rank": self.q_lora_rank, "kv_lora_rank": self.kv_lora_rank, "v_head_dim": self.v_head_dim}
        dims = {"nope_head_dim": self.nope_head_dim, "rope_head_dim": self.rope_head_dim}
        a.embedding("embed", self.vocab_size, d)
        with a.under("layers.{i}", layers):
            a.norm("attn_norm", d)
            a.latent_attn(d, self.num_heads, **ranks, **dims, bias=self.attention_bias)
            a.norm("mlp_norm", d)
            a.gated_mlp(d, self.intermediate_size)
        cached, width = self.kv_lora_rank + self.rope_head_dim, self.nope_head_dim + self.rope_head_dim
        a.attends_latent(layers, self.num_heads, width, self.v_head_dim, cached, rank=self.kv_lora_rank)
        a.norm("norm", d)
        a.head(self.vocab_size, d, tied=self.tie_embeddings)
        a.traits = {
            "attention": f"MLA {self.kv_lora_rank} + {self.rope_head_dim}", "position": rope_in_words(self.rope),
            "norm": "RMSNorm, pre", "block": "norm → attention → + → norm → MLP → +",
            "mlp": f"SwiGLU {self.intermediate_size}",
        }  # fmt: skip
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            **TINY, num_kv_heads=6, head_dim=8, rope=RopeConfig(theta=1000.0), q_lora_rank=14, kv_lora_rank=10,
            nope_head_dim=6, rope_head_dim=8, v_head_dim=5,
        )  # fmt: skip
