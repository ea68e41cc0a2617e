"""How Qwen3-Next and Qwen3.5 are configured, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    DecoderConfig,
    RopeConfig,
    at_least,
    heads_in_words,
    rope_in_words,
    rotary_pairs,
    unpassed,
)
from zoo.errors import ConfigError

from ..config import layers_below
from .mixer import DeltaConfig, describe_mixers

TINY: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_layers": 3, "num_heads": 6, "num_kv_heads": 2,
    "head_dim": 12, "max_seq_len": 64, "norm_eps": 3e-5, "attention_layers": [1],
}  # fmt: skip
EVERY = 4  # layers of which the last attends, where no list says which do


@dataclass
class Qwen35Config(DecoderConfig):
    """The text of Qwen3.5 and Qwen3.6, dense (Qwen team, 2026; arXiv:2412.06464 for the delta net)."""

    family: str = "qwen3_5"
    norm_eps: float = 1e-6  # added to the mean square
    attention_bias: bool = False  # q, k, v and o have biases
    attention_layers: list[int] | None = None  # layers that attend, the others being delta nets; None: every fourth
    delta: DeltaConfig = field(default_factory=DeltaConfig)  # the layers that carry a state
    rope: RopeConfig = field(default_factory=lambda: RopeConfig(partial=0.25))  # rotary positions
    num_mtp_layers: int = 0  # layers of the multi-token prediction module to load; released files have 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, num_mtp_layers=self.num_mtp_layers)
        rotary_pairs(self.rope.partial, self.head_dim)
        if self.attention_layers is not None:
            layers_below("model.attention_layers", self.attention_layers, self.num_layers)
            if self.attention_layers == list(range(EVERY - 1, self.num_layers, EVERY)):
                self.attention_layers = None

    def attends(self, layer: int) -> bool:
        """Whether a layer attends; if not, it is a delta net."""
        return (layer + 1) % EVERY == 0 if self.attention_layers is None else layer in self.attention_layers

    def anatomy(self) -> Anatomy:
        a, layers = Anatomy(max_seq_len=self.max_seq_len), range(self.num_layers)
        attending = [i for i in layers if self.attends(i)]
        others = [i for i in layers if not self.attends(i)]
        a.embedding("embed", self.vocab_size, self.hidden_size)
        with a.under("layers.{i}", layers):
            a.norm("attn_norm", self.hidden_size)
            a.norm("mlp_norm", self.hidden_size)
        with a.under("layers.{i}", attending):
            self._describe_attention(a)
        a.attends(attending, *self.heads)
        describe_mixers(a, self.delta, self.hidden_size, others)
        mlp = self.describe_mlp(a)
        a.norm("norm", self.hidden_size)
        a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings)
        if self.num_mtp_layers:
            self._describe_mtp(a)
        share = f"{len(others)} of {self.num_layers} layers"
        a.traits = {
            "attention": f"gated {heads_in_words(*self.heads[:2])}, {self.delta.words} in {share}",
            "position": rope_in_words(self.rope),
            "norm": "RMSNorm (1 + w), pre, also on q and k",
            "block": "norm → attention or delta net → + → norm → MLP → +",
            "mlp": mlp,
        }
        return a

    def _describe_attention(self, a: Anatomy) -> None:
        a.attn(self.hidden_size, *self.heads, bias=self.attention_bias, qk_norm=True)
        with a.under("attn"):
            width = self.num_heads * self.head_dim
            a.linear("gate_proj", self.hidden_size, width, "attention", bias=self.attention_bias)

    def _describe_mtp(self, a: Anatomy) -> None:
        with unpassed(a), a.under("mtp"):
            a.norm("embed_norm", self.hidden_size)
            a.norm("hidden_norm", self.hidden_size)
            a.linear("proj", 2 * self.hidden_size, self.hidden_size, "other")
            with a.under("layers.{i}", range(self.num_mtp_layers)):
                a.norm("attn_norm", self.hidden_size)
                self._describe_attention(a)
                a.norm("mlp_norm", self.hidden_size)
                self.describe_one_mlp(a)
            a.norm("norm", self.hidden_size)

    def describe_one_mlp(self, a: Anatomy) -> None:
        """Add the weights of a layer's MLP, or of its experts."""
        a.gated_mlp(self.hidden_size, self.intermediate_size)

    def describe_mlp(self, a: Anatomy) -> str:
        """Add the weights of all MLPs; returns them in words."""
        with a.under("layers.{i}", range(self.num_layers)):
            self.describe_one_mlp(a)
        return f"SwiGLU {self.intermediate_size}"

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, rope=RopeConfig(theta=1000.0, partial=0.5), delta=DeltaConfig.tiny())


@dataclass
class Qwen35MoEConfig(Qwen35Config):
    """The same with experts in each layer, and one behind a gate that every token passes through."""

    family: str = "qwen3_5_moe"
    intermediate_size: int = MISSING  # width of a routed expert
    shared_intermediate_size: int = MISSING  # width of the gated expert of all tokens
    num_experts: int = MISSING  # routed experts per layer
    experts_per_token: int = MISSING  # routed experts that each token passes through

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, experts_per_token=self.experts_per_token, shared_intermediate_size=self.shared_intermediate_size)
        if self.experts_per_token > self.num_experts:
            raise ConfigError(
                f"model.experts_per_token={self.experts_per_token} exceeds model.num_experts={self.num_experts}"
            )

    @property
    def plain_mlps(self) -> tuple[list[int], int]:
        """The layers without experts, and how wide their MLPs are."""
        return [], 0

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights of a token's experts are made to sum to 1."""
        return True

    def describe_one_mlp(self, a: Anatomy) -> None:
        a.moe(
            self.hidden_size, self.intermediate_size, self.num_experts, self.experts_per_token,
            shared_size=self.shared_intermediate_size, has_shared_gate=True,
        )  # fmt: skip

    def describe_mlp(self, a: Anatomy) -> str:
        plain, width = self.plain_mlps
        with a.under("layers.{i}", plain):
            a.gated_mlp(self.hidden_size, width)
        with a.under("layers.{i}", [i for i in range(self.num_layers) if i not in plain]):
            self.describe_one_mlp(a)
        sizes = f"{self.num_experts} × {self.intermediate_size}, top {self.experts_per_token}"
        rest = f", SwiGLU {width} in {len(plain)} layers" if plain else ""
        return f"SwiGLU MoE {sizes} + {self.shared_intermediate_size} shared{rest}"

    @classmethod
    def tiny(cls) -> Self:
        sizes = TINY | {"intermediate_size": 20}
        return cls(
            **sizes, rope=RopeConfig(theta=1000.0, partial=0.5), delta=DeltaConfig.tiny(), num_experts=5,
            experts_per_token=2, shared_intermediate_size=18,
        )  # fmt: skip


@dataclass
class Qwen3NextConfig(Qwen35MoEConfig):
    """Qwen3-Next-80B-A3B (Qwen team, September 2025)."""

    family: str = "qwen3_next"
    is_renormalised: bool = True  # the weights of a token's experts are made to sum to 1
    dense_layers: list[int] = field(default_factory=list)  # layers with a plain MLP instead
    dense_intermediate_size: int | None = None  # width of a plain MLP

    def __post_init__(self) -> None:
        super().__post_init__()
        layers_below("model.dense_layers", self.dense_layers, self.num_layers)
        if self.dense_layers and self.dense_intermediate_size is None:
            raise ConfigError(f"model.dense_layers={self.dense_layers} needs model.dense_intermediate_size")

    @property
    def plain_mlps(self) -> tuple[list[int], int]:
        return self.dense_layers, self.dense_intermediate_size or 0

    @property
    def sums_to_one(self) -> bool:
        return self.is_renormalised

    @classmethod
    def tiny(cls) -> Self:
        sizes = TINY | {"intermediate_size": 20}
        return cls(
            **sizes, rope=RopeConfig(theta=1000.0, partial=0.5), delta=DeltaConfig.tiny(), num_experts=5,
            experts_per_token=2, shared_intermediate_size=18, dense_layers=[2], dense_intermediate_size=40,
        )  # fmt: skip
