"""How a ModernBERT is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    OF_TOKENS,
    Anatomy,
    RopeConfig,
    TextEncoderConfig,
    at_least,
    describe_once,
    heads_in_words,
    mlp_in_words,
    one_of,
    rope_in_words,
    rotary_pairs,
)
from zoo.errors import ConfigError

POOLINGS = ("cls", "mean")


@dataclass
class ModernBertConfig(TextEncoderConfig):
    """ModernBERT (arXiv:2412.13663)."""

    family: str = "modernbert"
    norm_eps: float = 1e-5  # added to the variance
    norm_bias: bool = False  # LayerNorms have a bias
    attention_bias: bool = False  # q, k, v and o have biases
    mlp_bias: bool = False  # the MLP's projections have biases
    rope: RopeConfig = field(default_factory=lambda: RopeConfig(theta=160_000.0))  # of layers that see all tokens
    local_rope: RopeConfig = field(default_factory=RopeConfig)  # of layers with a window
    sliding_window: int = 128  # tokens seen by a layer with a window beside its own, half of them on each side; even
    global_every: int = 3  # layers 0, n, 2n, ... see all tokens, the others the window; 1: all layers do
    pooling: str = "cls"  # what a sequence is classified by: cls, its first token | mean, of its tokens
    head_activation: str = "gelu"  # of the head: gelu | gelu_tanh | relu | silu
    head_bias: bool = False  # the head's first projection has a bias
    decoder_bias: bool = True  # the masked-LM head adds a bias to its scores

    def __post_init__(self) -> None:
        self._check()
        at_least(1, global_every=self.global_every)
        at_least(2, sliding_window=self.sliding_window)
        if self.sliding_window % 2:
            raise ConfigError(f"model.sliding_window={self.sliding_window} is odd, and half of it is on each side")
        one_of("model.pooling", self.pooling, POOLINGS)
        one_of("model.head_activation", self.head_activation, ("gelu", "gelu_tanh", "relu", "silu"))
        for rope in (self.rope, self.local_rope):
            rotary_pairs(rope.partial, self.head_dim, "hidden_size / num_heads")
            if not rope.truncate:
                why = "transformers does not read it where layers rotate in two ways"
                raise ConfigError("a ModernBERT's model.rope.truncate=false is not supported", why=why)

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.hidden_size // self.num_heads

    def is_global(self, layer: int) -> bool:
        """Whether a layer sees all tokens."""
        return layer % self.global_every == 0

    def anatomy(self) -> Anatomy:
        a, dim, layers = Anatomy(max_seq_len=self.max_seq_len), self.hidden_size, range(self.num_layers)
        with a.under("embed"):
            a.embedding("tokens", self.vocab_size, dim)
            a.norm("norm", dim, bias=self.norm_bias)
        with a.under("layers.{i}", layers[1:]):  # the first reads the embeddings, which are normed already
            a.norm("attn_norm", dim, bias=self.norm_bias)
        with a.under("layers.{i}", layers):
            a.attn(dim, self.num_heads, self.num_heads, self.head_dim, bias=self.attention_bias)
            a.norm("mlp_norm", dim, bias=self.norm_bias)
            a.gated_mlp(dim, self.intermediate_size, bias=self.mlp_bias)
        for window in (None, self.sliding_window // 2 + 1):  # of one side, the own token among them
            alike = [i for i in layers if self.is_global(i) == (window is None)]
            if alike:
                sizes = self.num_heads, self.num_heads, self.head_dim
                a.attends(alike, *sizes, window=window, is_causal=False, is_cached=False)
        a.norm("norm", dim, bias=self.norm_bias)
        self._describe_head(a)
        a.traits = self._traits(len([i for i in layers if not self.is_global(i)]))
        return a

    def _describe_head(self, a: Anatomy) -> None:
        dim, is_of_text = self.hidden_size, self.head not in (*OF_TOKENS, "masked_lm")
        name = "lm_head" if self.head == "masked_lm" else "classifier"
        if self.head == "none":
            return
        with a.under(name):
            if is_of_text:
                describe_once(a, "dense", dim, dim, bias=self.head_bias)
            else:
                a.linear("dense", dim, dim, "head", bias=self.head_bias)
            a.norm("norm", dim, bias=self.norm_bias)
            if self.num_classes is None:
                a.head(self.vocab_size, dim, tied=self.tie_embeddings, name="decoder", bias=self.decoder_bias)
            elif is_of_text:
                describe_once(a, "out_proj", dim, self.num_classes)
            else:
                a.linear("out_proj", dim, self.num_classes, "head", bias=True)

    def _traits(self, num_local: int) -> dict[str, str]:
        window = f", window ±{self.sliding_window // 2} in {num_local} of {self.num_layers} layers" if num_local else ""
        local = f", local {rope_in_words(self.local_rope).removeprefix('RoPE ')}" if num_local else ""
        return {
            "attention": f"{heads_in_words(self.num_heads, self.num_heads)}, bidirectional{window}",
            "position": rope_in_words(self.rope) + local,
            "norm": "LayerNorm, pre",
            "block": "norm → attention → + → norm → MLP → +",
            "mlp": mlp_in_words(self.activation, self.intermediate_size, is_gated=True),
            "head": self.head,
        }

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=3, max_seq_len=64,
            head="masked_lm", norm_eps=3e-5, pad_token_id=0, sliding_window=6, rope=RopeConfig(theta=1000.0),
            local_rope=RopeConfig(theta=50.0),
        )  # fmt: skip
