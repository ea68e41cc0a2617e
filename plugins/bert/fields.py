"""Fields that encoders share, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zoo.anatomy import (
    ENCODER_HEADS,
    OF_TOKENS,
    Anatomy,
    TextEncoderConfig,
    describe_once,
    heads_in_words,
    mlp_in_words,
)
from zoo.errors import ConfigError

BERT_HEADS = (*ENCODER_HEADS, "pretraining", "next_sentence")
LM_HEADS = ("masked_lm", "pretraining")
PAIR_HEADS = ("pretraining", "next_sentence")  # heads that tell whether sentence B follows sentence A
POOLED_HEADS = (*PAIR_HEADS, "sequence_classification", "multiple_choice")  # heads that in BERT read the pooled state


@dataclass
class EncoderConfig(TextEncoderConfig):
    """What the families share besides, and what they are made of."""

    def _check_pooler(self, has_pooler: bool, readers: Sequence[str]) -> None:
        if has_pooler and self.head not in ("none", *readers):
            raise ConfigError(f"model.head={self.head!r} does not use the pooled state: set model.has_pooler=false")
        if not has_pooler and self.head in readers:
            raise ConfigError(f"model.head={self.head!r} uses the pooled state: set model.has_pooler=true")

    @property
    def width(self) -> int:
        """Of the embeddings, and of what the masked-LM head multiplies by them."""
        return self.hidden_size

    def _anatomy(
        self,
        num_positions: int,
        num_token_types: int,
        *,
        has_pooler: bool = False,
        is_classifier_deep: bool = False,
        is_pre_norm: bool = False,
    ) -> Anatomy:
        a, dim = Anatomy(max_seq_len=self.max_seq_len), self.hidden_size
        with a.under("embed"):
            a.embedding("tokens", self.vocab_size, self.width)
            a.embedding("positions", num_positions, self.width, role="position")
            if num_token_types:
                a.embedding("token_types", num_token_types, self.width)
            if not is_pre_norm:
                a.norm("norm", self.width, bias=True)
        self._describe_layers(a)
        if is_pre_norm:
            a.norm("norm", dim, bias=True)
        if has_pooler:
            describe_once(a, "pooler.dense", dim, dim)
        self._describe_heads(a, is_classifier_deep)
        order = "norm → attention → + → norm → MLP → +" if is_pre_norm else "attention → + → norm → MLP → + → norm"
        a.traits = {
            "attention": f"{heads_in_words(self.num_heads, self.num_heads)}, bidirectional",
            "position": f"learned {self.max_seq_len}",
            "norm": f"LayerNorm, {'pre' if is_pre_norm else 'post'}",
            "block": order,
            "mlp": mlp_in_words(self.activation, self.intermediate_size),
            "head": self.head,
        }
        return a

    def _describe_layers(self, a: Anatomy) -> None:
        heads = self.num_heads, self.num_heads, self.hidden_size // self.num_heads
        self._describe_blocks(a, range(self.num_layers))
        a.attends(range(self.num_layers), *heads, is_causal=False, is_cached=False)

    def _describe_blocks(self, a: Anatomy, layers: Iterable[int]) -> None:
        dim, heads = self.hidden_size, self.num_heads
        with a.under("layers.{i}", layers):
            a.attn(dim, heads, heads, dim // heads, bias=True)
            a.norm("attn_norm", dim, bias=True)
            a.mlp(dim, self.intermediate_size)
            a.norm("mlp_norm", dim, bias=True)

    def _describe_heads(self, a: Anatomy, is_classifier_deep: bool) -> None:
        dim, classes = self.hidden_size, self.num_classes
        if self.head in LM_HEADS:
            with a.under("lm_head"):
                a.linear("dense", dim, self.width, "head", bias=True)
                a.norm("norm", self.width, bias=True)
                a.head(self.vocab_size, self.width, tied=self.tie_embeddings, name="decoder")
                a.weight("decoder.bias", (self.vocab_size,), "head")
        if self.head in PAIR_HEADS:
            describe_once(a, "next_sentence", dim, 2)
        if classes is not None and self.head in OF_TOKENS:
            a.linear("classifier", dim, classes, "head", bias=True)
        elif classes is not None and is_classifier_deep:
            describe_once(a, "classifier.dense", dim, dim)
            describe_once(a, "classifier.out_proj", dim, classes)
        elif classes is not None:
            describe_once(a, "classifier", dim, classes)
