"""How a ChatGLM-6B is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, describe_trunk, mlp_in_words, multiple_of
from zoo.errors import ConfigError


@dataclass
class ChatGLMConfig(ModelConfig):
    """ChatGLM-6B (arXiv:2406.12793, after GLM-130B, arXiv:2210.02414)."""

    family: str = "chatglm"
    bos_token_id: int | None = MISSING  # <sop>: ends the prefix and begins what is generated
    mask_token_id: int = MISSING  # [MASK]: where a short gap is filled; its position is that of what is generated
    gmask_token_id: int = MISSING  # [gMASK]: where a long text is generated; goes before [MASK] if both are there
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads; divides hidden_size into heads of a multiple of 4 channels
    max_seq_len: int = 2048  # tokens of context
    norm_eps: float = 1e-5  # added to the variance
    tie_embeddings: bool = False  # the output head is the embedding
    residual_layers: int = 28  # skip branches are multiplied by sqrt(2 * this); released code: 28 whatever num_layers
    has_half_frequencies: bool = True  # rotary frequencies are rounded to float16 in every dtype, as in released code

    def __post_init__(self) -> None:
        sizes = "vocab_size hidden_size intermediate_size num_heads max_seq_len residual_layers"
        at_least(1, **{name: getattr(self, name) for name in sizes.split()})
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        if self.head_dim % 4:
            raise ConfigError(
                f"model.hidden_size={self.hidden_size} and model.num_heads={self.num_heads} make heads of"
                f" {self.head_dim} channels, which cannot be split into pairs in both halves"
            )
        for name in ("bos_token_id", "mask_token_id", "gmask_token_id"):
            value = getattr(self, name)
            if value is None or not 0 <= value < self.vocab_size:
                raise ConfigError(
                    f"model.{name}={value} is not a token id below model.vocab_size={self.vocab_size}",
                    why="positions and masks depend on its place in the text",
                )

    @property
    def head_dim(self) -> int:
        """Channels per head."""
        return self.hidden_size // self.num_heads

    def anatomy(self) -> Anatomy:
        heads = self.num_heads, self.num_heads, self.head_dim
        words = "RoPE 10k, 2-D" + (", frequencies of 16 bits" if self.has_half_frequencies else "")
        with describe_trunk(self, heads, position=words, bias=True, is_causal=False, is_layer_norm=True) as a:
            a.mlp(self.hidden_size, self.intermediate_size)
        weight = (2 * self.residual_layers) ** 0.5
        a.traits["attention"] += ", prefix"
        a.traits["norm"] += ", and on the skip branch"
        a.traits["block"] = f"norm → attention → + {weight:.3g} × norm → norm → MLP → + …"
        a.traits["mlp"] = mlp_in_words("gelu_tanh", self.intermediate_size)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, max_seq_len=64,
            norm_eps=3e-5, bos_token_id=58, mask_token_id=56, gmask_token_id=57,
        )  # fmt: skip
