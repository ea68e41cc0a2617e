"""The parts of the sandbox as records, one per option group, so that `config` holds what concerns the whole alone."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.anatomy import at_least, expert_groups, one_of
from zoo.errors import ConfigError

POSITIONS = ("none", "sinusoidal", "learned", "rope", "alibi", "t5")
NORMS = ("layernorm", "rmsnorm", "rmsnorm_unit_offset")
BLOCKS = ("pre", "post", "sandwich", "parallel", "deepnorm")
ATTENTIONS = ("heads", "mla", "dca")
MLPS = ("plain", "gated", "moe")
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "gelu_bloom", "silu")


@dataclass
class PositionConfig:
    """How tokens know where they stand; rotary angles are set in model.rope."""

    kind: str = "rope"  # none | sinusoidal | learned | rope | alibi | t5
    is_interleaved: bool = False  # rope: channels pair 2c with 2c + 1, not c with c + half of the rotary ones
    num_buckets: int = 32  # t5: distances told apart
    max_distance: int = 128  # t5: from here on distances count as the same

    def __post_init__(self) -> None:
        one_of("model.position.kind", self.kind, POSITIONS)
        at_least(2, part="model.position", num_buckets=self.num_buckets)
        if self.max_distance <= self.num_buckets // 2:
            raise ConfigError(
                f"model.position.max_distance={self.max_distance} is not above half of "
                f"model.position.num_buckets={self.num_buckets}, the part that has one bucket for each short distance"
            )


@dataclass
class NormConfig:
    """How states are normed."""

    kind: str = "rmsnorm"  # layernorm | rmsnorm | rmsnorm_unit_offset
    eps: float = 1e-5  # added to the variance or mean square

    def __post_init__(self) -> None:
        one_of("model.norm.kind", self.kind, NORMS)


@dataclass
class BlockConfig:
    """Where a layer's norms stand and how its branches join the residual stream."""

    kind: str = "pre"  # pre | post | sandwich | parallel | deepnorm
    alpha: float | None = None  # deepnorm: factor on the skip branches; None: the paper's, (2 * num_layers)^(1/4)

    def __post_init__(self) -> None:
        one_of("model.block.kind", self.kind, BLOCKS)
        if self.alpha is not None and self.kind != "deepnorm":
            raise ConfigError(
                f"model.block.alpha={self.alpha} is only for model.block.kind=deepnorm, not {self.kind}: set null"
            )


@dataclass
class AttentionConfig:
    """Who attends to whom, and through which projections."""

    kind: str = "heads"  # heads | mla | dca
    num_kv_heads: int | None = None  # key/value heads; divides num_heads; None: as many, 1: multi-query
    has_bias: bool = False  # q, k and v have biases; in mla the down-projections
    has_out_bias: bool = False  # o has a bias
    has_qk_norm: bool = False  # queries and keys are normed head by head, before they rotate
    query_pre_attn_scalar: float | None = None  # scores are divided by its square root; None: head_dim
    softcap: float | None = None  # scores stay within ± this
    sliding_window: int | None = None  # heads: tokens that local layers see, their own among them; None: all
    local_per_global: int | None = None  # local layers before each that sees all; None: with a window all are local
    prefix_token: int | None = None  # tokens before the first of these see one another; None: none do
    q_lora_rank: int | None = None  # mla: width that queries are squeezed through; None: they are not
    kv_lora_rank: int = 512  # mla: width of the latent that keys and values are rebuilt from
    nope_head_dim: int = 128  # mla: channels of a query or key head that never rotate
    rope_head_dim: int = 64  # mla: channels that rotate if positions are rotary, their key shared by all heads
    v_head_dim: int = 128  # mla: channels of a value head
    chunk_size: int = 8192  # dca: tokens; up to here attention is ordinary
    local_size: int = 1024  # dca: tokens by which chunks are shorter, for the neighbours across their borders
    original_max_seq_len: int | None = None  # dca: tokens beyond which the scores' temperature sinks; None: never

    def __post_init__(self) -> None:
        one_of("model.attention.kind", self.kind, ATTENTIONS)
        names = "num_kv_heads sliding_window local_per_global q_lora_rank kv_lora_rank nope_head_dim v_head_dim"
        names += " chunk_size local_size original_max_seq_len"
        at_least(1, part="model.attention", **{name: getattr(self, name) for name in names.split()})
        at_least(2, part="model.attention", rope_head_dim=self.rope_head_dim)
        at_least(0, part="model.attention", prefix_token=self.prefix_token)
        if self.prefix_token is not None and (self.sliding_window is not None or self.kind == "dca"):
            bound = "model.attention.kind=dca" if self.kind == "dca" else "model.attention.sliding_window"
            raise ConfigError(
                f"model.attention.prefix_token cannot be used with {bound}", why="all tokens of a prefix are seen"
            )
        if self.kind == "dca" and self.local_size >= self.chunk_size:
            raise ConfigError(
                f"model.attention.local_size={self.local_size} uses up all of "
                f"model.attention.chunk_size={self.chunk_size}"
            )
        if self.local_per_global is not None and self.sliding_window is None:
            raise ConfigError("model.attention.local_per_global needs model.attention.sliding_window")
        for name, why in self._misfits().items():
            raise ConfigError(f"model.attention.{name} cannot be used with model.attention.kind={self.kind}", why=why)

    def _misfits(self) -> dict[str, str]:
        """What is set and means nothing to this kind of attention, and why."""
        rebuilt, whole = "keys and values are rebuilt per head from one latent", "its softmax is computed in pieces"
        reasons: dict[str, dict[str, str]] = {
            "heads": {},
            "mla": {
                "num_kv_heads": rebuilt,
                "has_qk_norm": "it has norms on the latents instead",
                "query_pre_attn_scalar": "its scale follows from its own head dims",
                "softcap": "it never holds all its scores",
                "sliding_window": "its latents are cached for all tokens",
            },
            "dca": {
                "query_pre_attn_scalar": "its temperature is its scale",
                "softcap": whole,
                "sliding_window": "every query attends to all earlier tokens, in chunks",
            },
        }
        return {name: why for name, why in reasons[self.kind].items() if getattr(self, name)}


@dataclass
class MLPConfig:
    """What stands between attention and attention; model.intermediate_size is its width."""

    kind: str = "gated"  # plain | gated | moe
    activation: str = "silu"  # relu | gelu | gelu_tanh | gelu_bloom | silu
    has_bias: bool = False  # its projections have biases
    num_experts: int = 8  # moe: experts per layer that a token may be sent to
    experts_per_token: int = 2  # moe: experts that each token is sent to
    moe_intermediate_size: int | None = None  # moe: width of one expert; None: intermediate_size
    num_shared_experts: int = 0  # moe: experts that every token passes through, kept as one of their joint width
    has_shared_gate: bool = False  # moe: a sigmoid of the token weighs the shared experts
    num_dense_layers: int = 0  # moe: first layers, which have a gated MLP of intermediate_size instead
    scoring: str = "softmax"  # moe: softmax | sigmoid; sigmoid has a bias that steers the choice only
    is_router_float32: bool = False  # moe: softmax scores are computed in float32 whatever the dtype
    is_renormalised: bool = True  # moe: the weights of a token's experts are made to sum to 1, before routed_scale
    routed_scale: float = 1.0  # moe: factor on the weights of the chosen experts
    num_groups: int = 1  # moe: groups that the experts are divided into
    groups_per_token: int = 1  # moe: groups that a token's experts come from

    def __post_init__(self) -> None:
        one_of("model.mlp.kind", self.kind, MLPS)
        one_of("model.mlp.activation", self.activation, ACTIVATIONS)
        if self.kind == "moe":
            self._check_experts()

    def _check_experts(self) -> None:
        one_of("model.mlp.scoring", self.scoring, ("softmax", "sigmoid"))
        at_least(1, part="model.mlp", moe_intermediate_size=self.moe_intermediate_size)
        at_least(
            0, part="model.mlp", num_shared_experts=self.num_shared_experts, num_dense_layers=self.num_dense_layers
        )
        expert_groups(
            self.num_experts, self.experts_per_token, self.num_groups, self.groups_per_token, part="model.mlp",
            ranked_by_two=self.scoring == "sigmoid",
        )  # fmt: skip
        if self.has_bias:
            raise ConfigError("model.mlp.has_bias cannot be used with model.mlp.kind=moe", why="experts have no biases")
        if self.has_shared_gate and not self.num_shared_experts:
            raise ConfigError(
                "model.mlp.has_shared_gate needs model.mlp.num_shared_experts: otherwise there is nothing to gate"
            )
