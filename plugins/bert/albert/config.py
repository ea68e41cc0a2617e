"""How an ALBERT is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from zoo.anatomy import ENCODER_HEADS, MISSING, Anatomy, at_least
from zoo.errors import ConfigError

from ..fields import EncoderConfig

ALBERT_HEADS = (*ENCODER_HEADS, "pretraining")
POOLED = ("pretraining", "sequence_classification", "multiple_choice")  # heads that read the pooled state


@dataclass
class AlbertConfig(EncoderConfig):
    """ALBERT (arXiv:1909.11942). Its heads are also pretraining: masked LM, and the order of two sentences.

    The stack passes num_layers times through a group of layers; groups take equal runs of these passes, in order.
    """

    family: str = "albert"
    embed_size: int = MISSING  # width of the embeddings, which are always projected
    num_layer_groups: int = 1  # groups of layers with weights of their own; at most num_layers
    layers_per_group: int = 1  # layers that stand behind one another in a group
    type_vocab_size: int = 2  # kinds of token: sentence A, sentence B
    norm_eps: float = 1e-12  # added to the variance
    has_pooler: bool = False  # tanh of a projection of the first token; all heads but those of tokens and of answers

    def __post_init__(self) -> None:
        self._check(ALBERT_HEADS)
        self._check_pooler(self.has_pooler, POOLED)
        at_least(1, embed_size=self.embed_size, type_vocab_size=self.type_vocab_size)
        at_least(1, num_layer_groups=self.num_layer_groups, layers_per_group=self.layers_per_group)
        if self.num_layer_groups > self.num_layers:
            what = f"model.num_layer_groups={self.num_layer_groups} is more than model.num_layers={self.num_layers}"
            raise ConfigError(what, why="a group that nothing passes through would have weights without a use")

    @property
    def width(self) -> int:
        return self.embed_size

    @property
    def order(self) -> list[int]:
        """The layers by their numbers, in the order in which states pass through them."""
        run = self.num_layers / self.num_layer_groups
        groups = [int(i / run) for i in range(self.num_layers)]
        return [group * self.layers_per_group + i for group in groups for i in range(self.layers_per_group)]

    def anatomy(self) -> Anatomy:
        a = self._anatomy(self.max_seq_len, self.type_vocab_size, has_pooler=self.has_pooler)
        a.linear("embed.proj", self.embed_size, self.hidden_size, "embedding", bias=True)
        own = self.num_layer_groups * self.layers_per_group
        a.traits["block"] += f", {len(self.order)} times with the weights of {own}"
        return a

    def _describe_layers(self, a: Anatomy) -> None:
        order, heads = self.order, (self.num_heads, self.num_heads, self.hidden_size // self.num_heads)
        for times in sorted({order.count(i) for i in order}):
            before, layers = len(a.weights), [i for i in dict.fromkeys(order) if order.count(i) == times]
            self._describe_blocks(a, layers)
            a.weights[before:] = [replace(weight, used=float(times)) for weight in a.weights[before:]]
        a.attends(order, *heads, is_causal=False, is_cached=False)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, embed_size=14, intermediate_size=40, num_layers=5, num_heads=3,
            num_layer_groups=2, layers_per_group=2, max_seq_len=50, type_vocab_size=3, activation="gelu_tanh",
            head="pretraining", has_pooler=True, norm_eps=3e-5, pad_token_id=0,
        )  # fmt: skip
