"""How SigLIP is configured, and what it is made of."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    EQUAL_HEADS,
    MISSING,
    Anatomy,
    ModelConfig,
    TextConfig,
    TowerConfig,
    at_least,
    check_labels,
    describe_embeddings,
    describe_layers,
    mlp_in_words,
    one_of,
)
from zoo.errors import ConfigError

HEADS = ("none", "image_classification")


@dataclass
class SiglipTextConfig(TextConfig):
    """The tower that reads texts in both directions, padding and all."""

    max_seq_len: int = 64  # tokens of context, to which every text is padded
    activation: str = "gelu_tanh"  # of the MLP: quick_gelu | gelu | gelu_tanh | relu | silu
    norm_eps: float = 1e-6  # added to the variance
    projection_size: int = MISSING  # width of a text's vector


@dataclass
class SiglipVisionConfig(TowerConfig):
    """The tower that reads images."""

    activation: str = "gelu_tanh"  # of the MLP: quick_gelu | gelu | gelu_tanh | relu | silu
    norm_eps: float = 1e-6  # added to the variance
    has_pool: bool = True  # a learned query that makes one vector of all patches


@dataclass
class SiglipConfig(ModelConfig):
    """SigLIP (arXiv:2303.15343) and SigLIP 2 (arXiv:2502.14786) of one resolution, or one of the two towers."""

    family: str = "siglip"
    text: SiglipTextConfig | None = None  # the tower for texts; None: there is none
    vision: SiglipVisionConfig | None = None  # the tower for images; None: there is none
    head: str = "none"  # none | image_classification
    num_labels: int | None = None  # classes of the head; None without one
    labels: list[str] = field(default_factory=list)  # their names, in order; empty: unnamed

    def __post_init__(self) -> None:
        if self.text is None and self.vision is None:
            raise ConfigError("model.text and model.vision are both missing: a SigLIP model has at least one tower")
        if self.text is not None:
            self.text.check("model.text")
            at_least(1, **{"text.projection_size": self.text.projection_size})
        if self.vision is not None:
            self.vision.check("model.vision")
        if self.text is not None and self.vision is not None:
            self._check_pair(self.text.projection_size, self.vision)
        self._check_head()

    def _check_pair(self, size: int, v: SiglipVisionConfig) -> None:
        if not v.has_pool:
            raise ConfigError("model.vision.has_pool=false gives no vectors of images to hold to those of texts")
        if size != v.hidden_size:
            found = f"model.text.projection_size={size} is not model.vision.hidden_size={v.hidden_size}"
            raise ConfigError(f"{found}: texts and images meet in one space")

    def _check_head(self) -> None:
        one_of("model.head", self.head, HEADS)
        check_labels(self.head, ("image_classification",), self.num_labels, self.labels)
        if self.num_labels is not None and (self.text is not None or self.vision is None):
            raise ConfigError(f"model.head={self.head!r} reads images alone: set model.text=null and give model.vision")

    @property
    def is_pair(self) -> bool:
        """Whether it has both towers, and so judges images and texts."""
        return self.text is not None and self.vision is not None

    def anatomy(self) -> Anatomy:
        a = Anatomy(max_seq_len=self.text.max_seq_len if self.text else None)
        if self.text is not None:
            describe_text(a, self.text)
        if self.vision is not None:
            with nullcontext() if self.text is None else a.off_the_text(), a.under("vision"):
                self.describe_embeddings(a, self.vision)
                describe_vision(a, self.vision)
            a.traits["vision"] = (
                f"ViT {self.vision.num_layers} × {self.vision.hidden_size}, patches of {self.vision.patch_size} "
                f"in {self.vision.image_size}"
            )
            if self.text is None:
                _describe_alone(a, self.vision)
        if self.num_labels is not None and self.vision is not None:
            a.weight("classifier.weight", (self.num_labels, self.vision.hidden_size), "head")
            a.weight("classifier.bias", (self.num_labels,), "head")
        if self.is_pair:
            a.weight("logit_scale", (1,), "other")
            a.weight("logit_bias", (1,), "other")
        a.traits |= {"norm": "LayerNorm, pre", "block": "norm → attention → + → norm → MLP → +"}
        return a

    def describe_embeddings(self, a: Anatomy, v: SiglipVisionConfig) -> None:
        """The weights that patches of an image pass first, in the place at hand."""
        describe_embeddings(a, v, has_class_token=False, has_bias=True)

    @classmethod
    def tiny(cls) -> Self:
        sizes = {"hidden_size": 24, "intermediate_size": 40, "num_layers": 2, "num_heads": 3}
        return cls(
            text=SiglipTextConfig(vocab_size=61, max_seq_len=20, norm_eps=3e-5, projection_size=32, **sizes),
            vision=SiglipVisionConfig(
                hidden_size=32, intermediate_size=44, num_layers=2, num_heads=4, image_size=14, patch_size=4,
                norm_eps=2e-5,
            ),
        )  # fmt: skip


def describe_text(a: Anatomy, t: SiglipTextConfig) -> None:
    """The weights of the tower for texts, below `text`."""
    with a.under("text"):
        a.embedding("embed", t.vocab_size, t.hidden_size)
        a.embedding("positions", t.max_seq_len, t.hidden_size, role="position")
        describe_layers(a, t, is_vision=False)
        a.norm("norm", t.hidden_size, bias=True)
        a.weight("projection.weight", (t.projection_size, t.hidden_size), "head")
        a.weight("projection.bias", (t.projection_size,), "head")
    heads = t.num_heads, t.num_heads, t.hidden_size // t.num_heads
    a.attends(range(t.num_layers), *heads, is_causal=False, is_cached=False, stack="text.layers")
    a.traits |= {
        "attention": f"text: MHA {t.num_heads}, bidirectional",
        "position": f"learned {t.max_seq_len}",
        "mlp": mlp_in_words(t.activation, t.intermediate_size),
    }


def describe_vision(a: Anatomy, v: SiglipVisionConfig) -> None:
    """The weights of the tower for images behind its embeddings, in the place at hand."""
    dim = v.hidden_size
    a.norm("norm", dim, bias=True, role="vision")
    describe_layers(a, v)
    if not v.has_pool:
        return
    with a.under("pool"):
        a.weight("probe", (dim,), "vision")
        with a.under("attn", cuts=EQUAL_HEADS, num_heads=v.num_heads):
            for name in ("k_proj", "v_proj"):
                a.linear(name, dim, dim, "vision", bias=True)
            for name in ("q_proj", "o_proj"):  # of one query an image
                a.weight(f"{name}.weight", (dim, dim), "vision")
                a.weight(f"{name}.bias", (dim,), "vision")
        a.norm("norm", dim, bias=True, role="vision")
        a.mlp(dim, v.intermediate_size, role="vision")


def _describe_alone(a: Anatomy, v: SiglipVisionConfig) -> None:
    heads = v.num_heads, v.num_heads, v.hidden_size // v.num_heads
    a.attends(range(v.num_layers), *heads, is_causal=False, is_cached=False, stack="vision.layers")
    a.traits |= {
        "attention": f"MHA {v.num_heads}, bidirectional",
        "position": f"learned {v.num_patches}",
        "mlp": mlp_in_words(v.activation, v.intermediate_size),
    }
