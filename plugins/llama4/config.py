"""How a Llama 4 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    DecoderConfig,
    RopeConfig,
    at_least,
    describe_trunk,
    expert_groups,
    layers_in_order,
    rope_in_words,
)
from zoo.errors import ConfigError


@dataclass
class Llama4Config(DecoderConfig):
    """The text of Llama 4 Scout and Maverick (Meta, 2025); layers without positions after arXiv:2501.18795."""

    family: str = "llama4"
    intermediate_size: int = 16384  # width of the MLP in layers without experts
    moe_intermediate_size: int = MISSING  # width of a routed expert, and of the one that all tokens pass through
    num_experts: int = MISSING  # routed experts per layer
    experts_per_token: int = 1  # routed experts that each token passes through
    dense_layers: list[int] = field(default_factory=list)  # numbers of the layers with a plain MLP instead
    nope_layers: list[int] = field(default_factory=list)  # numbers of the layers that do not rotate
    chunk_size: int = 8192  # tokens of a chunk: layers with chunks see their own chunk's earlier tokens
    chunked_layers: list[int] | None = None  # numbers of the layers with chunks; None: those that rotate
    has_qk_norm: bool = True  # in layers that rotate, queries and keys are normed behind the rotation
    temperature_scale: float | None = 0.1  # in the other layers, how fast queries grow with the position; None: never
    temperature_length: int = 8192  # tokens after which they grow, and after as many again
    attention_bias: bool = False  # q, k, v and o have biases

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, chunk_size=self.chunk_size, temperature_length=self.temperature_length)
        at_least(1, moe_intermediate_size=self.moe_intermediate_size)
        expert_groups(self.num_experts, self.experts_per_token, 1, 1, ranked_by_two=False)
        for name in ("dense_layers", "nope_layers", "chunked_layers"):
            layers_in_order(name, getattr(self, name), self.num_layers)
        if self.temperature_scale is not None and not 0 <= self.temperature_scale <= 1e4:
            raise ConfigError(f"model.temperature_scale={self.temperature_scale!r} is not from 0 to 10000")
        if self.rope.partial != 1:
            raise ConfigError(f"model.rope.partial={self.rope.partial:g}: in a Llama 4 all channels rotate")
        if self.chunked_layers == [i for i in range(self.num_layers) if i not in self.nope_layers]:
            self.chunked_layers = None

    def chunk_of(self, layer: int) -> int | None:
        """The chunks of a layer, in tokens; None: it sees all."""
        layers = self.chunked_layers
        is_chunked = layer not in self.nope_layers if layers is None else layer in layers
        return self.chunk_size if is_chunked else None

    def anatomy(self) -> Anatomy:
        words = f"{rope_in_words(self.rope)}, none in {len(self.nope_layers)} of {self.num_layers} layers"
        with describe_trunk(
            self, self.heads, position=words, bias=self.attention_bias, window_of=self.chunk_of, is_chunked=True
        ) as a:
            pass
        with a.under("layers.{i}", self.dense_layers):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        with a.under("layers.{i}", [i for i in range(self.num_layers) if i not in self.dense_layers]):
            width = self.moe_intermediate_size
            a.moe(self.hidden_size, width, self.num_experts, self.experts_per_token, shared_size=width)
        a.traits["attention"] += self._attention_in_words()
        plain = f", SwiGLU {self.intermediate_size} in {len(self.dense_layers)} layers" if self.dense_layers else ""
        experts = f"{self.num_experts} × {width}, top {self.experts_per_token} + {width} shared"
        a.traits["mlp"] = f"SwiGLU MoE {experts}, sigmoid{plain}"
        return a

    def _attention_in_words(self) -> str:
        chunked = sum(self.chunk_of(i) is not None for i in range(self.num_layers))
        words = f", chunks of {self.chunk_size} in {chunked} of {self.num_layers} layers" if chunked else ""
        words += ", q and k normed behind the rotation" if self.has_qk_norm else ""
        return words + (", queries that grow with the position" if self.temperature_scale else "")

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0), moe_intermediate_size=20, num_experts=5,
            experts_per_token=2, dense_layers=[1], nope_layers=[1, 3], chunk_size=5, chunked_layers=[0, 2, 3],
            temperature_scale=0.7, temperature_length=3,
        )  # fmt: skip
