"""How the sandbox is configured: its fields, what they describe, and its tiny one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, RopeConfig

from .anatomy import describe
from .fields import SandboxFields
from .parts import AttentionConfig, BlockConfig, MLPConfig, NormConfig


@dataclass
class SandboxConfig(SandboxFields):
    """A decoder put together from parts; each part is an option group of the same name, as in attention=mla."""

    def anatomy(self) -> Anatomy:
        return describe(self)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, head_dim=10, max_seq_len=64,
            rope=RopeConfig(theta=1000.0), has_local_rope=True, local_rope=RopeConfig(theta=100.0),
            norm_embeddings=True,
            attention=AttentionConfig(
                num_kv_heads=2, sliding_window=5, local_per_global=1, has_qk_norm=True, has_bias=True
            ),
            norm=NormConfig("layernorm", eps=3e-5), block=BlockConfig("sandwich"),
            mlp=MLPConfig(
                "moe", "gelu", num_experts=6, experts_per_token=3, moe_intermediate_size=18, num_shared_experts=2,
                num_dense_layers=1, scoring="sigmoid", num_groups=3, groups_per_token=2, routed_scale=2.5,
            ),
        )  # fmt: skip
