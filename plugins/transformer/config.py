"""How a Transformer of 2017 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, mlp_in_words, multiple_of, one_of
from zoo.errors import ConfigError

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")


@dataclass
class TransformerConfig(ModelConfig):
    """The Transformer (arXiv:1706.03762), and Marian's (arXiv:1804.00344)."""

    family: str = "transformer"
    vocab_size: int = MISSING  # rows of the embedding; of the target, where source and target share none
    source_vocab_size: int | None = None  # rows of the source's own embedding; None: one embedding for both
    hidden_size: int = MISSING  # width of the residual stream; even, and a multiple of num_heads
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks of the encoder
    num_decoder_layers: int = MISSING  # blocks of the decoder
    num_heads: int = MISSING  # heads of each attention, of hidden_size / num_heads channels
    max_seq_len: int | None = None  # tokens of a sequence in training; positions go on beyond it
    activation: str = "relu"  # relu | gelu | gelu_tanh | silu
    norm_eps: float = 1e-6  # added to the variance
    attention_bias: bool = False  # q, k, v and o have biases, as in Marian and fairseq; the paper has none
    scale_embeddings: bool = True  # embeddings are multiplied by sqrt(hidden_size)
    tie_embeddings: bool = True  # the output head is the target's embedding
    head_bias: bool = False  # the output head has a bias, as in Marian
    decoder_start_token_id: int = 0  # token that every target begins with

    def __post_init__(self) -> None:
        sizes = "vocab_size source_vocab_size hidden_size intermediate_size num_heads max_seq_len".split()
        at_least(1, **{name: getattr(self, name) for name in sizes})
        at_least(1, num_layers=self.num_layers, num_decoder_layers=self.num_decoder_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        multiple_of("model.hidden_size", self.hidden_size, "the sine and cosine of a position", 2)
        one_of("model.activation", self.activation, ACTIVATIONS)
        if not 0 <= self.decoder_start_token_id < self.vocab_size:
            raise ConfigError(
                f"model.decoder_start_token_id={self.decoder_start_token_id} is not below "
                f"model.vocab_size={self.vocab_size}"
            )

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.hidden_size // self.num_heads

    def anatomy(self) -> Anatomy:
        a = Anatomy(max_seq_len=self.max_seq_len)
        if self.source_vocab_size is not None:
            a.embedding("source_embed", self.source_vocab_size, self.hidden_size)
        a.embedding("embed", self.vocab_size, self.hidden_size)
        with a.of_the_source():
            self._stack(a, "encoder", self.num_layers)
        self._stack(a, "decoder", self.num_decoder_layers)
        a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings)
        if self.head_bias:
            a.weight("lm_head.bias", (self.vocab_size,), "head")
        a.traits = {
            "attention": f"MHA {self.num_heads}, and to the source",
            "position": "sinusoids",
            "norm": "LayerNorm, post",
            "block": "attention → + → norm → MLP → + → norm",
            "mlp": mlp_in_words(self.activation, self.intermediate_size),
        }
        return a

    def _stack(self, a: Anatomy, stack: str, num_layers: int) -> None:
        is_decoder, heads = stack == "decoder", (self.num_heads, self.num_heads, self.head_dim)
        with a.under(f"{stack}.layers.{{i}}", range(num_layers)):
            a.attn(self.hidden_size, *heads, bias=self.attention_bias)
            a.norm("attn_norm", self.hidden_size, bias=True)
            if is_decoder:
                a.cross_attn(self.hidden_size, self.num_heads, self.head_dim, bias=self.attention_bias)
                a.norm("cross_norm", self.hidden_size, bias=True)
            a.mlp(self.hidden_size, self.intermediate_size)
            a.norm("mlp_norm", self.hidden_size, bias=True)
        a.attends(range(num_layers), *heads, is_causal=is_decoder, is_cached=is_decoder, stack=stack)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_decoder_layers=3, num_heads=3,
            max_seq_len=64, activation="silu", norm_eps=1e-5, attention_bias=True, head_bias=True,
            decoder_start_token_id=60, eos_token_id=[0], pad_token_id=60,
        )  # fmt: skip
