"""How a Gemma is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import MISSING, Anatomy, DecoderConfig, RopeConfig, at_least, describe_trunk, one_of, rope_in_words
from zoo.errors import ConfigError


@dataclass
class GemmaConfig(DecoderConfig):
    """Gemma 1 (arXiv:2403.08295), 2 (arXiv:2408.00118) and 3 (arXiv:2503.19786), text."""

    family: str = "gemma"
    generation: int = MISSING  # 1 | 2 | 3: from 2 on norms on both sides of each branch, in 3 norms on q and k
    norm_eps: float = 1e-6  # added to the mean square
    tie_embeddings: bool = True  # the output head is the embedding
    query_pre_attn_scalar: float = MISSING  # scores are divided by its square root; often head_dim
    attn_softcap: float | None = None  # attention scores stay within ± this (Gemma 2)
    final_softcap: float | None = None  # logits stay within ± this (Gemma 2)
    sliding_window: int | None = None  # tokens a local layer sees, its own among them
    local_per_global: int = 0  # local layers before each global one; 0: all layers are global
    local_rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions of local layers

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("model.generation", str(self.generation), ("1", "2", "3"))
        at_least(0, local_per_global=self.local_per_global)
        if not self.query_pre_attn_scalar > 0:
            raise ConfigError(f"model.query_pre_attn_scalar={self.query_pre_attn_scalar!r} is not above 0")
        if self.local_per_global:
            if self.sliding_window is None:
                raise ConfigError(f"model.local_per_global={self.local_per_global} needs model.sliding_window")
            at_least(1, sliding_window=self.sliding_window)

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer sees; None: all."""
        is_local = self.local_per_global > 0 and (layer + 1) % (self.local_per_global + 1) != 0
        return self.sliding_window if is_local else None

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), qk_norm=self.generation == 3,
            window_of=self.window_of, is_sandwiched=self.generation > 1,
        ) as a:  # fmt: skip
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        if self.local_per_global:
            share = f"{self.local_per_global} of {self.local_per_global + 1}"
            a.traits["attention"] += f", window {self.sliding_window} in {share} layers"
            if self.local_rope != self.rope:
                a.traits["position"] += f", local {rope_in_words(self.local_rope).removeprefix('RoPE ')}"
        a.traits["norm"] = a.traits["norm"].replace("RMSNorm", "RMSNorm (1 + w)")
        a.traits["mlp"] = f"GeGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, generation=3, query_pre_attn_scalar=7.0, sliding_window=5,
            local_per_global=1, attn_softcap=20.0, final_softcap=15.0, rope=RopeConfig(theta=5000.0),
            local_rope=RopeConfig(theta=100.0),
        )  # fmt: skip
