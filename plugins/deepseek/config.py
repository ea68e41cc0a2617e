"""How a DeepSeek-V2 or V3 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    ModelConfig,
    RopeConfig,
    at_least,
    described_mtp,
    even,
    expert_groups,
    one_of,
    rope_in_words,
    yarn_mscale,
)
from zoo.errors import ConfigError


@dataclass
class DeepSeekConfig(ModelConfig):
    """DeepSeek-V2 (arXiv:2405.04434) and V3 (arXiv:2412.19437), of which R1 (arXiv:2501.12948) is one."""

    family: str = "deepseek"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    intermediate_size: int = MISSING  # width of the MLP in the layers without experts
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads
    q_lora_rank: int | None = None  # width that queries are squeezed through; None: they are not
    kv_lora_rank: int = MISSING  # width of the latent that keys and values are rebuilt from
    nope_head_dim: int = MISSING  # channels of a query or key head that know no position
    rope_head_dim: int = MISSING  # rotary channels of a query head, and of the one key that all heads share
    v_head_dim: int = MISSING  # channels of a value head
    attention_bias: bool = False  # the down-projections of queries and latent, and the output, have biases
    num_dense_layers: int = 0  # first layers, which have an MLP in place of experts
    moe_layer_freq: int = 1  # of the others, layers that are a multiple of it have experts
    num_experts: int = MISSING  # experts per layer that a token may be sent to
    experts_per_token: int = MISSING  # experts that each token is sent to
    moe_intermediate_size: int = MISSING  # width of one expert
    num_shared_experts: int = 0  # experts that every token passes through, kept as one of their joint width
    scoring: str = "softmax"  # softmax | sigmoid: the router's scores; sigmoid has a bias that steers the choice only
    num_groups: int = 1  # groups that the experts are divided into
    groups_per_token: int = 1  # groups that a token's experts come from
    is_renormalised: bool = False  # weights sum to 1: with softmax instead of routed_scale, with sigmoid before it
    routed_scale: float = 1.0  # factor on the weights of the chosen experts
    max_seq_len: int = 4096  # tokens of context
    norm_eps: float = 1e-6  # added to the mean square
    tie_embeddings: bool = False  # the output head is the embedding
    rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions
    rope_interleaved: bool = True  # rotary channels pair 2c with 2c + 1, not c with c + rope_head_dim / 2
    num_mtp_layers: int = 0  # multi-token prediction modules to load; released V3s have 1

    def __post_init__(self) -> None:
        sizes = "vocab_size hidden_size intermediate_size num_heads kv_lora_rank nope_head_dim v_head_dim max_seq_len"
        at_least(1, **{name: getattr(self, name) for name in sizes.split()}, q_lora_rank=self.q_lora_rank)
        at_least(1, num_layers=self.num_layers)
        at_least(0, num_dense_layers=self.num_dense_layers)
        at_least(0, num_shared_experts=self.num_shared_experts, num_mtp_layers=self.num_mtp_layers)
        at_least(1, moe_layer_freq=self.moe_layer_freq, moe_intermediate_size=self.moe_intermediate_size)
        at_least(2, rope_head_dim=self.rope_head_dim)
        even("model.rope_head_dim", self.rope_head_dim)
        self._check_router()
        self._check_rope()

    def _check_router(self) -> None:
        one_of("model.scoring", self.scoring, ("softmax", "sigmoid"))
        expert_groups(
            self.num_experts, self.experts_per_token, self.num_groups, self.groups_per_token,
            ranked_by_two=self.scoring == "sigmoid",
        )  # fmt: skip
        if self.is_renormalised and self.experts_per_token == 1:
            raise ConfigError(
                "model.is_renormalised=true with model.experts_per_token=1 is ambiguous",
                why="DeepSeek's code on the hub keeps the weight as it is, its inference code sets it to 1",
            )

    def _check_rope(self) -> None:
        rope = self.rope
        if rope.partial != 1:
            raise ConfigError(f"model.rope.partial={rope.partial}: all rope_head_dim channels rotate, set that instead")
        if self.scoring == "softmax" and not self.rope_interleaved:
            raise ConfigError(
                "model.rope_interleaved=false needs model.scoring=sigmoid, which DeepSeek-V2 does not have"
            )
        temperatures = rope.mscale, rope.mscale_all_dim
        if rope.scaling != "yarn" and temperatures != (None, None):
            raise ConfigError(f"model.rope.mscale and mscale_all_dim are only for yarn, not {rope.scaling}: set null")
        if rope.scaling == "yarn" and rope.original_max_seq_len is None:
            raise ConfigError("model.rope.scaling=yarn needs model.rope.original_max_seq_len")
        if temperatures != (None, None) and not all(temperatures):
            raise ConfigError(
                f"model.rope.mscale={rope.mscale} and model.rope.mscale_all_dim={rope.mscale_all_dim} are ambiguous",
                why="if one is missing, DeepSeek's code and transformers use different values for it",
                hint="set both or neither",
            )

    @property
    def softmax_scale(self) -> float:
        """Factor on the scores: 1 / sqrt(width of a key), and with `rope.mscale_all_dim` YaRN's temperature."""
        scale = (self.nope_head_dim + self.rope_head_dim) ** -0.5
        if self.rope.scaling == "yarn" and self.rope.mscale_all_dim:
            scale *= yarn_mscale(self.rope.factor, self.rope.mscale_all_dim) ** 2
        return scale

    @property
    def shared_size(self) -> int | None:
        """Width of the shared expert; None where there is none."""
        return self.num_shared_experts * self.moe_intermediate_size or None

    def has_experts(self, layer: int) -> bool:
        """Whether a layer is sparse; those of the multi-token prediction modules count on from num_layers."""
        return layer >= self.num_dense_layers and layer % self.moe_layer_freq == 0

    def anatomy(self) -> Anatomy:
        a = Anatomy(max_seq_len=self.max_seq_len)
        # A token reads one row of an embedding that is no head: DeepSeek counts active parameters so.
        rows_read = 1.0 if self.tie_embeddings else 1 / self.vocab_size
        a.weight("embed.weight", (self.vocab_size, self.hidden_size), "embedding", used=rows_read)
        layers = range(self.num_layers)
        for sparse in (False, True):
            with a.under("layers.{i}", [i for i in layers if self.has_experts(i) == sparse]):
                self._describe_layer(a, sparse)
        self._describe_attention(a)
        a.norm("norm", self.hidden_size)
        a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings)
        for k in range(self.num_mtp_layers):
            with described_mtp(a, k, self.vocab_size, self.hidden_size):
                self._describe_module(a, self.num_layers + k)
        a.traits = self._traits()
        return a

    def _describe_attention(self, a: Anatomy) -> None:
        cached = self.kv_lora_rank + self.rope_head_dim
        a.attends_latent(
            range(self.num_layers), self.num_heads, self.nope_head_dim + self.rope_head_dim, self.v_head_dim, cached,
            rank=self.kv_lora_rank,
        )  # fmt: skip

    def _describe_layer(self, a: Anatomy, sparse: bool) -> None:
        a.norm("attn_norm", self.hidden_size)
        a.latent_attn(
            self.hidden_size, self.num_heads, q_lora_rank=self.q_lora_rank, kv_lora_rank=self.kv_lora_rank,
            nope_head_dim=self.nope_head_dim, rope_head_dim=self.rope_head_dim, v_head_dim=self.v_head_dim,
            bias=self.attention_bias,
        )  # fmt: skip
        a.norm("mlp_norm", self.hidden_size)
        if not sparse:
            a.gated_mlp(self.hidden_size, self.intermediate_size)
            return
        a.moe(
            self.hidden_size, self.moe_intermediate_size, self.num_experts, self.experts_per_token,
            shared_size=self.shared_size, has_router_bias=self.scoring == "sigmoid",
        )  # fmt: skip

    def _describe_module(self, a: Anatomy, number: int) -> None:
        """The layer of a module for multi-token prediction, which counts on from those of the model."""
        self._describe_layer(a, self.has_experts(number))

    def _traits(self) -> dict[str, str]:
        shared = f"+{self.num_shared_experts}" if self.num_shared_experts else ""
        groups = f" of {self.groups_per_token}/{self.num_groups} groups" if self.num_groups > 1 else ""
        return {
            "attention": f"MLA {self.kv_lora_rank} + {self.rope_head_dim}",
            "position": rope_in_words(self.rope),
            "norm": "RMSNorm, pre",
            "block": "norm → attention → + → norm → MLP → +",
            "mlp": f"SwiGLU MoE {self.num_experts}{shared}, top {self.experts_per_token}{groups}",
        }

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=20, intermediate_size=40, num_layers=3, num_heads=3, q_lora_rank=14,
            kv_lora_rank=10, nope_head_dim=8, rope_head_dim=6, v_head_dim=7, num_dense_layers=1, num_experts=6,
            experts_per_token=3, moe_intermediate_size=18, num_shared_experts=2, scoring="sigmoid", num_groups=3,
            groups_per_token=2, is_renormalised=True, routed_scale=2.5, max_seq_len=64,
            norm_eps=3e-5,
            rope=RopeConfig(
                theta=1000.0, scaling="yarn", factor=4.0, original_max_seq_len=16, mscale=0.9, mscale_all_dim=0.7
            ),
        )  # fmt: skip
