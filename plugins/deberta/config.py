"""How a DeBERTa v2 or v3 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import (
    OF_TOKENS,
    Anatomy,
    TextEncoderConfig,
    at_least,
    describe_once,
    heads_in_words,
    mlp_in_words,
    multiple_of,
    one_of,
)
from zoo.errors import ConfigError

KNOWN = ("gelu", "gelu_tanh", "relu", "silu", "tanh")


@dataclass
class DebertaConfig(TextEncoderConfig):
    """DeBERTa v2 (arXiv:2006.03654) and v3 (arXiv:2111.09543)."""

    family: str = "deberta"
    type_vocab_size: int | None = None  # kinds of token; None: no table of them
    norm_eps: float = 1e-7  # added to the variance
    has_positions: bool = False  # positions are added to the embeddings too, as in BERT
    position_buckets: int | None = 256  # kinds of distance on each side, logarithmic far off; None: one for each
    max_distance: int = 512  # tokens from which on all distances are alike
    has_position_norm: bool = True  # the table of distances is normed
    has_shared_projections: bool = True  # distances are projected by the matrices that project states
    has_c2p: bool = True  # scores of what a query is and how far its key is
    has_p2c: bool = True  # scores of what a key is and how far its query is
    conv_kernel_size: int | None = None  # tokens that a convolution beside the first layer sees; None: there is none
    conv_groups: int = 1  # groups of channels of that convolution
    conv_activation: str = "tanh"  # of that convolution: gelu | gelu_tanh | relu | silu | tanh
    pooler_activation: str = "gelu"  # of what a sequence is classified by: gelu | gelu_tanh | relu | silu | tanh
    is_legacy: bool = True  # the masked-LM head is stored as BERT's, cls.predictions; false: as lm_predictions

    def __post_init__(self) -> None:
        self._check()
        at_least(1, type_vocab_size=self.type_vocab_size, conv_kernel_size=self.conv_kernel_size)
        at_least(1, max_distance=self.max_distance, conv_groups=self.conv_groups)
        one_of("model.conv_activation", self.conv_activation, KNOWN)
        one_of("model.pooler_activation", self.pooler_activation, KNOWN)
        multiple_of("model.hidden_size", self.hidden_size, "model.conv_groups", self.conv_groups)
        if self.conv_kernel_size is not None and self.conv_kernel_size % 2 == 0:
            what = f"model.conv_kernel_size={self.conv_kernel_size} is even, and has no token in its middle"
            raise ConfigError(what)
        if self.position_buckets is not None and not 4 <= self.position_buckets < 2 * (self.max_distance - 1):
            what = f"model.position_buckets={self.position_buckets} is not from 4 to below twice model.max_distance - 1"
            raise ConfigError(f"{what}={self.max_distance - 1}")
        if not self.tie_embeddings:
            raise ConfigError("model.tie_embeddings=false: a DeBERTa's masked-LM head is the token embedding")

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.hidden_size // self.num_heads

    @property
    def reach(self) -> int:
        """Kinds of distance on each side; the table has twice as many rows."""
        return self.position_buckets or self.max_distance

    def anatomy(self) -> Anatomy:
        a, dim, layers = Anatomy(max_seq_len=self.max_seq_len), self.hidden_size, range(self.num_layers)
        with a.under("embed"):
            a.embedding("tokens", self.vocab_size, dim)
            if self.has_positions:
                a.embedding("positions", self.max_seq_len, dim, role="position")
            if self.type_vocab_size:
                a.embedding("token_types", self.type_vocab_size, dim)
            a.norm("norm", dim, bias=True)
        with a.under("distances"):
            # each term of each layer multiplies every token by all rows
            used = float(self.num_layers * (self.has_c2p + self.has_p2c))
            a.weight("table.weight", (2 * self.reach, dim), "position", used=used, is_matmul=used > 0)
            if self.has_position_norm:
                a.norm("norm", dim, bias=True)
        with a.under("layers.{i}", layers):
            a.attn(dim, self.num_heads, self.num_heads, self.head_dim, bias=True, is_whole=True)
            for name in self.own_projections:
                describe_once(a, f"attn.{name}", dim, dim, role="attention")  # of the table, not of tokens
            a.norm("attn_norm", dim, bias=True)
            a.mlp(dim, self.intermediate_size)
            a.norm("mlp_norm", dim, bias=True)
        if self.conv_kernel_size is not None:
            with a.under("layers.{i}", (0,)):
                shape = dim, dim // self.conv_groups, self.conv_kernel_size
                a.weight("conv.proj.weight", shape, "other", is_matmul=True)  # not rounded, and not adapted
                a.weight("conv.proj.bias", (dim,), "other")
                a.norm("conv.norm", dim, bias=True)
        sizes = self.num_heads, self.num_heads, self.head_dim
        a.attends(layers, *sizes, is_causal=False, is_cached=False, is_whole=True)
        self._describe_head(a)
        a.traits = {
            "attention": f"{heads_in_words(self.num_heads, self.num_heads)}, bidirectional, disentangled",
            "position": f"relative, {2 * self.reach} distances",
            "norm": "LayerNorm, post",
            "block": "attention → + → norm → MLP → + → norm",
            "mlp": mlp_in_words(self.activation, self.intermediate_size),
            "head": self.head,
        }
        return a

    @property
    def own_projections(self) -> tuple[str, ...]:
        """Names of the matrices that project distances alone."""
        if self.has_shared_projections:
            return ()
        return ("pos_k_proj",) * self.has_c2p + ("pos_q_proj",) * self.has_p2c

    def _describe_head(self, a: Anatomy) -> None:
        dim = self.hidden_size
        if self.head == "masked_lm":
            with a.under("lm_head"):
                a.linear("dense", dim, dim, "head", bias=True)
                a.norm("norm", dim, bias=True)
                a.head(self.vocab_size, dim, tied=True, name="decoder", bias=True)
        elif self.num_classes is not None and self.head in OF_TOKENS:
            a.linear("classifier", dim, self.num_classes, "head", bias=True)
        elif self.num_classes is not None:
            describe_once(a, "classifier.dense", dim, dim)
            describe_once(a, "classifier.out_proj", dim, self.num_classes)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=3, num_heads=3, max_seq_len=64,
            head="masked_lm", norm_eps=3e-5, pad_token_id=0, position_buckets=6, max_distance=11, conv_kernel_size=3,
        )  # fmt: skip
