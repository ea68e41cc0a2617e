"""How a T5 is configured, and what it is made of."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, mlp_in_words, one_of
from zoo.errors import ConfigError

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")


@dataclass
class T5Config(ModelConfig):
    """T5 (arXiv:1910.10683), Flan-T5 (arXiv:2210.11416), mT5 (arXiv:2010.11934) and UMT5 (arXiv:2304.09151)."""

    family: str = "t5"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    intermediate_size: int = MISSING  # width of the MLP
    head_dim: int = MISSING  # channels per head; num_heads * head_dim need not be hidden_size
    num_layers: int = MISSING  # blocks of the encoder
    num_decoder_layers: int | None = MISSING  # blocks of the decoder; None: an encoder alone
    num_heads: int = MISSING  # heads of each attention
    num_buckets: int = 32  # distances told apart by the bias
    max_distance: int = 128  # tokens from which on distances are one
    has_bias_per_layer: bool = False  # every layer has a bias table of its own, as in UMT5, not the first alone
    is_gated: bool = False  # the MLP is gated, as from 1.1 on
    activation: str = "relu"  # relu | gelu | gelu_tanh | silu
    norm_eps: float = 1e-6  # added to the mean square
    tie_embeddings: bool = True  # the output head is the embedding
    scale_outputs: bool = True  # what enters the head is multiplied by hidden_size^-0.5, as in 1.0
    decoder_start_token_id: int = 0  # token that every target begins with
    flavour: str = "t5"  # t5 | mt5 | umt5: how the checkpoint names itself

    def __post_init__(self) -> None:
        sizes = "vocab_size hidden_size intermediate_size head_dim num_heads num_buckets max_distance".split()
        at_least(1, **{name: getattr(self, name) for name in sizes})
        at_least(4, num_buckets=self.num_buckets)  # two directions, each with an exact half
        at_least(1, num_layers=self.num_layers, num_decoder_layers=self.num_decoder_layers)
        one_of("model.activation", self.activation, ACTIVATIONS)
        one_of("model.flavour", self.flavour, ("t5", "mt5", "umt5"))
        if self.max_distance <= self.num_buckets // 2:
            raise ConfigError(
                f"model.max_distance={self.max_distance} is not above half of model.num_buckets={self.num_buckets}"
            )

    def anatomy(self) -> Anatomy:
        a = Anatomy()
        a.embedding("embed", self.vocab_size, self.hidden_size)
        with nullcontext() if self.num_decoder_layers is None else a.of_the_source():
            self._stack(a, "encoder", self.num_layers)
        if self.num_decoder_layers is not None:
            self._stack(a, "decoder", self.num_decoder_layers)
            a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings)
        a.traits = {
            "attention": f"MHA {self.num_heads}, unscaled" + (", and to the source" if self.num_decoder_layers else ""),
            "position": f"bias per distance, {self.num_buckets} buckets" + " per layer" * self.has_bias_per_layer,
            "norm": "RMSNorm, pre",
            "block": "norm → attention → + → norm → MLP → +",
            "mlp": mlp_in_words(self.activation, self.intermediate_size, is_gated=self.is_gated),
        }
        return a

    def _stack(self, a: Anatomy, stack: str, num_layers: int) -> None:
        is_decoder, layers = stack == "decoder", range(num_layers)
        with a.under(f"{stack}.layers.{{i}}", layers):
            a.norm("attn_norm", self.hidden_size)
            a.attn(self.hidden_size, self.num_heads, self.num_heads, self.head_dim)
            if is_decoder:
                a.norm("cross_norm", self.hidden_size)
                a.cross_attn(self.hidden_size, self.num_heads, self.head_dim)
            a.norm("mlp_norm", self.hidden_size)
            if self.is_gated:
                a.gated_mlp(self.hidden_size, self.intermediate_size)
            else:
                a.mlp(self.hidden_size, self.intermediate_size, bias=False)
        with a.under(f"{stack}.layers.{{i}}", layers if self.has_bias_per_layer else layers[:1]):
            a.relative_bias(self.num_buckets, self.num_heads)
        a.norm(f"{stack}_norm", self.hidden_size)
        a.attends(
            layers, self.num_heads, self.num_heads, self.head_dim,
            is_causal=is_decoder, is_cached=is_decoder, stack=stack,
        )  # fmt: skip

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, head_dim=5, num_layers=2, num_decoder_layers=3,
            num_heads=3, num_buckets=8, max_distance=20, norm_eps=3e-5, eos_token_id=[1], pad_token_id=0,
        )  # fmt: skip
