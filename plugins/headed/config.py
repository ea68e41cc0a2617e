"""How a decoder under another head is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

from zoo.anatomy import CLASSIFIERS, MISSING, Anatomy, ModelConfig, check_labels, one_of
from zoo.errors import ConfigError
from zoo.registry import installed

HEADS = ("none", "sequence_classification", "token_classification")
TRUNK = "trunk"  # the part that is another family's model, without its head
WORDS = {
    "none": "none: the normed states",
    "sequence_classification": "classes of a text, read at its last real token",
    "token_classification": "classes of each token",
}


@dataclass
class HeadedConfig(ModelConfig):
    """A decoder of any family whose head over the vocabulary is replaced by one over classes, or left out."""

    family: str = "headed"
    trunk: Any = MISSING  # the config of the decoder, of the class of the family that it names
    head: str = "none"  # none | sequence_classification | token_classification
    num_labels: int | None = None  # classes, 1 for a reward; None without a classifier
    labels: list[str] = field(default_factory=list)  # their names, in order; empty: unnamed
    has_bias: bool = False  # the classifier adds a bias

    def __post_init__(self) -> None:
        self.trunk = self._read_trunk()
        one_of("model.head", self.head, HEADS)
        check_labels(self.head, CLASSIFIERS, self.num_labels, self.labels)
        if self.has_bias and self.head != "token_classification":
            raise ConfigError(f"model.head={self.head!r} adds no bias: set model.has_bias=false")
        self._check_trunk()

    @property
    def family_in_words(self) -> str:
        """The decoder's family and what it ends in: a user has never heard of `headed`."""
        end = "a head for classes" if self.num_labels is not None else "no head for tokens"
        return f"{self.trunk.family_in_words} with {end}"

    @property
    def hidden_size(self) -> int:
        """Width of what the head reads."""
        return vars(self.trunk)["hidden_size"]

    def _read_trunk(self) -> Any:
        """The decoder's config with the type and the tokens that stand here, for it has none of its own."""
        trunk = self.trunk
        if isinstance(trunk, dict):
            trunk = installed()[str(trunk.get("family"))].config_class.from_dict(trunk)
        if not isinstance(trunk, ModelConfig):
            return trunk  # not said yet
        return replace(
            trunk, dtype=self.dtype, bos_token_id=self.bos_token_id, eos_token_id=list(self.eos_token_id),
            pad_token_id=self.pad_token_id,
        )  # fmt: skip

    def _check_trunk(self) -> None:
        """Refuse a decoder that stores more of its head than the matrix which is left out: an OPT-350M's projection."""
        if not isinstance(self.trunk, ModelConfig):
            return
        kept = [w.name for w in self.trunk.anatomy().weights if w.role == "head" and not is_of_head(w.name)]
        if kept:
            what = f"this {self.trunk.family} projects its states for its head ({kept[0]})"
            raise ConfigError(what, why="zoo reads such a model with its own head only, not bare or with classes")

    def anatomy(self) -> Anatomy:
        inner = self.trunk.anatomy()
        a = Anatomy(
            weights=[
                replace(w, name=f"{TRUNK}.{w.name}", gives_logits=False)
                for w in inner.weights
                if not is_of_head(w.name)
            ],
            attention=[replace(spec, stack=f"{TRUNK}.{spec.stack}") for spec in inner.attention],
            states=[replace(spec, stack=f"{TRUNK}.{spec.stack}") for spec in inner.states],
            traits={**inner.traits, "head": WORDS[self.head]},
            max_seq_len=inner.max_seq_len,
        )
        if self.num_labels is not None:  # a sequence has one state that the head reads, and its tokens cost nothing
            is_of_tokens = self.head == "token_classification"
            shape = (self.num_labels, self.hidden_size)
            a.weight("classifier.weight", shape, "head", is_matmul=is_of_tokens)
            if self.has_bias:
                a.weight("classifier.bias", shape[:1], "head")
        return a

    @classmethod
    def tiny(cls) -> Self:
        trunk = installed()["llama"].config_class.tiny()
        return cls(trunk=trunk, head="sequence_classification", num_labels=3, pad_token_id=0)


def is_of_head(name: str) -> bool:
    """Whether a weight is one of the head over the vocabulary."""
    return name.partition(".")[0] == "lm_head"
