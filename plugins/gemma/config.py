"""How a Gemma is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import MISSING, Anatomy, DecoderConfig, RopeConfig, at_least, heads_in_words, one_of, rope_in_words
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
        a = Anatomy(max_seq_len=self.max_seq_len)
        a.embedding("embed", self.vocab_size, self.hidden_size)
        with a.under("layers.{i}", range(self.num_layers)):
            a.norm("attn_norm", self.hidden_size)
            a.attn(self.hidden_size, self.num_heads, self.num_kv_heads, self.head_dim, qk_norm=self.generation == 3)
            a.norm("mlp_norm", self.hidden_size)
            a.gated_mlp(self.hidden_size, self.intermediate_size)
            if self.generation > 1:
                a.norm("attn_post_norm", self.hidden_size)
                a.norm("mlp_post_norm", self.hidden_size)
        for window in dict.fromkeys(self.window_of(i) for i in range(self.num_layers)):
            layers = [i for i in range(self.num_layers) if self.window_of(i) == window]
            a.attends(layers, self.num_heads, self.num_kv_heads, self.head_dim, window=window)
        a.norm("norm", self.hidden_size)
        a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings)
        a.traits = self._traits()
        return a

    def _traits(self) -> dict[str, str]:
        local = f", window {self.sliding_window} in {self.local_per_global} of {self.local_per_global + 1} layers"
        sandwich = self.generation > 1
        position = rope_in_words(self.rope)
        if self.local_per_global and self.local_rope != self.rope:
            position += f", local {rope_in_words(self.local_rope).removeprefix('RoPE ')}"
        return {
            "attention": heads_in_words(self.num_heads, self.num_kv_heads) + (local if self.local_per_global else ""),
            "position": position,
            "norm": "RMSNorm (1 + w), " + ("pre and post" if sandwich else "pre"),
            "block": "norm → attention → norm → + → norm → MLP → norm → +"
            if sandwich
            else "norm → attention → + → norm → MLP → +",
            "mlp": f"GeGLU {self.intermediate_size}",
        }

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, generation=3, query_pre_attn_scalar=7.0, sliding_window=5, local_per_global=1,
            attn_softcap=20.0, final_softcap=15.0, rope=RopeConfig(theta=5000.0), local_rope=RopeConfig(theta=100.0),
        )  # fmt: skip
