"""What the sandbox's config holds: sizes, and one record for each part that can be chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo.anatomy import MISSING, ModelConfig, RopeConfig, at_least, multiple_of, rotary_pairs, yarn_mscale
from zoo.errors import ConfigError

from .parts import AttentionConfig, BlockConfig, MLPConfig, NormConfig, PositionConfig


@dataclass
class SandboxFields(ModelConfig):
    """What is chosen of a decoder put together from parts, and what of it goes together."""

    family: str = "decoder"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # query heads
    head_dim: int = MISSING  # channels per head, except in mla; often hidden_size / num_heads
    max_seq_len: int = 2048  # tokens of context, and rows of a learned position embedding
    tie_embeddings: bool = False  # the output head is the embedding
    scale_embeddings: bool = False  # embeddings are multiplied by sqrt(hidden_size), rounded to their dtype (Gemma)
    norm_embeddings: bool = False  # embeddings are normed before they enter the stack (BLOOM)
    final_softcap: float | None = None  # logits stay within ± this
    position: PositionConfig = field(default_factory=PositionConfig)  # how tokens know where they stand
    rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions, where model.position.kind is rope
    has_local_rope: bool = False  # layers with a window rotate by model.local_rope, not by model.rope
    local_rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions of layers with a window
    norm: NormConfig = field(default_factory=NormConfig)  # how states are normed
    block: BlockConfig = field(default_factory=BlockConfig)  # where norms and branches stand
    attention: AttentionConfig = field(default_factory=AttentionConfig)  # who attends to whom
    mlp: MLPConfig = field(default_factory=MLPConfig)  # what stands between attention and attention

    def __post_init__(self) -> None:
        sizes = "vocab_size hidden_size intermediate_size num_heads head_dim max_seq_len"
        at_least(1, **{name: getattr(self, name) for name in sizes.split()})
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.num_heads", self.num_heads, "model.attention.num_kv_heads", self.num_kv_heads)
        if self.position.kind == "sinusoidal":
            multiple_of("model.hidden_size", self.hidden_size, "the sine and cosine of a sinusoidal position", 2)
        if self.position.kind == "rope":
            self._check_rotary()
        self._check_attention()

    def _check_rotary(self) -> None:
        name = "model.attention.rope_head_dim" if self.attention.kind == "mla" else "model.head_dim"
        rotary_pairs(self.rope.partial, self.rotary_dim, name)

    def _check_attention(self) -> None:
        a = self.attention
        if a.kind == "mla":
            if self.position.kind == "rope" and self.rope.partial != 1:
                raise ConfigError(f"model.rope.partial={self.rope.partial:g}: in mla all rope_head_dim channels rotate")
            if a.has_bias != a.has_out_bias:
                raise ConfigError(
                    f"model.attention.has_bias={a.has_bias} and has_out_bias={a.has_out_bias}: in mla both or neither"
                )
        if a.kind == "dca":
            self._check_chunks()
        if a.prefix_token is not None:
            self._check_prefix(a.prefix_token)
        if self.has_local_rope and (a.sliding_window is None or self.position.kind != "rope"):
            raise ConfigError(
                "model.has_local_rope=true needs model.attention.sliding_window and model.position.kind=rope",
                why="model.local_rope rotates the layers with a window",
            )
        if self.local_rope != RopeConfig() and not self.has_local_rope:
            raise ConfigError("model.local_rope has numbers that are not used: set model.has_local_rope=true")

    def _check_prefix(self, token: int) -> None:
        if token >= self.vocab_size:
            what = f"model.attention.prefix_token={token} is not below model.vocab_size={self.vocab_size}"
            raise ConfigError(what, hint="name the token behind a prefix in this vocabulary; null: no prefix")
        if self.position.kind in ("alibi", "t5"):
            raise ConfigError(
                f"model.attention.prefix_token cannot be used with model.position.kind={self.position.kind}",
                why="its scores are for earlier tokens, but in a prefix later tokens are seen too",
            )

    def _check_chunks(self) -> None:
        if self.position.kind != "rope":
            raise ConfigError(
                f"model.attention.kind=dca needs model.position.kind=rope, not {self.position.kind}",
                why="dual chunk attention is a way to remap rotary angles",
            )
        if self.rope.scaling != "none" or self.position.is_interleaved:
            raise ConfigError(
                f"model.attention.kind=dca cannot be used with model.rope.scaling={self.rope.scaling} and "
                f"model.position.is_interleaved={self.position.is_interleaved}",
                why="it keeps angles in the trained range itself, and pairs each channel with one of the other half",
            )

    @property
    def num_kv_heads(self) -> int:
        """Key/value heads."""
        return self.num_heads if self.attention.num_kv_heads is None else self.attention.num_kv_heads

    @property
    def rotary_dim(self) -> int:
        """Channels of a head that rotary positions may rotate."""
        return self.attention.rope_head_dim if self.attention.kind == "mla" else self.head_dim

    @property
    def scale(self) -> float:
        """Factor on the scores: 1 / sqrt(width of a key), and with `rope.mscale_all_dim` YaRN's temperature."""
        width = self.attention.query_pre_attn_scalar or self.head_dim
        if self.attention.kind == "mla":
            width = self.attention.nope_head_dim + self.attention.rope_head_dim
        if self.position.kind == "rope" and self.rope.scaling == "yarn" and self.rope.mscale_all_dim:
            return width**-0.5 * yarn_mscale(self.rope.factor, self.rope.mscale_all_dim) ** 2
        return width**-0.5

    @property
    def alpha(self) -> float:
        """Factor on DeepNorm's skip branches (arXiv:2203.00555, table 2, decoder-only)."""
        return (2 * self.num_layers) ** 0.25 if self.block.alpha is None else self.block.alpha

    @property
    def expert_size(self) -> int:
        """Width of one expert."""
        return self.mlp.moe_intermediate_size or self.intermediate_size

    @property
    def shared_size(self) -> int | None:
        """Width of the shared expert; None where there is none."""
        return self.mlp.num_shared_experts * self.expert_size or None

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer sees; None: all."""
        every = self.attention.local_per_global
        return None if every and (layer + 1) % (every + 1) == 0 else self.attention.sliding_window

    def has_experts(self, layer: int) -> bool:
        """Whether a layer's MLP is a mixture of experts."""
        return self.mlp.kind == "moe" and layer >= self.mlp.num_dense_layers
