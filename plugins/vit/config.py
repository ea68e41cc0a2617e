"""How ViT is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    ModelConfig,
    at_least,
    check_labels,
    describe_embeddings,
    describe_layers,
    mlp_in_words,
    multiple_of,
    one_of,
)
from zoo.errors import ConfigError

HEADS = ("none", "image_classification")


@dataclass
class ViTConfig(ModelConfig):
    """ViT (arXiv:2010.11929)."""

    family: str = "vit"
    hidden_size: int = MISSING  # width of the residual stream; a multiple of num_heads
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels
    image_size: int = 224  # pixels along the sides of a training image
    patch_size: int = 16  # pixels along the sides of a patch
    num_channels: int = 3  # colours
    activation: str = "gelu"  # of the MLP: gelu | gelu_tanh | quick_gelu | relu | silu
    norm_eps: float = 1e-12  # added to the variance
    qkv_bias: bool = True  # q, k and v have biases; the output projection always has
    head: str = "none"  # none | image_classification
    has_pooler: bool = False  # tanh of a projection of the class token; only with head=none
    num_labels: int | None = None  # classes of the head; None without one
    labels: list[str] = field(default_factory=list)  # their names, in order; empty: unnamed

    def __post_init__(self) -> None:
        at_least(1, hidden_size=self.hidden_size, intermediate_size=self.intermediate_size, num_heads=self.num_heads)
        at_least(1, patch_size=self.patch_size, num_channels=self.num_channels)
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        one_of("model.activation", self.activation, ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu"))
        one_of("model.head", self.head, HEADS)
        if self.image_size < self.patch_size:
            raise ConfigError(f"model.image_size={self.image_size} is below model.patch_size={self.patch_size}")
        check_labels(self.head, ("image_classification",), self.num_labels, self.labels)
        if self.has_pooler and self.head != "none":
            raise ConfigError(f"model.head={self.head!r} does not use the pooled state: set model.has_pooler=false")

    @property
    def num_patches(self) -> int:
        """Patches of a training image; pixels beyond the last whole patch are not read."""
        return (self.image_size // self.patch_size) ** 2

    def anatomy(self) -> Anatomy:
        a, dim, heads = Anatomy(max_seq_len=self.num_patches + 1), self.hidden_size, self.num_heads
        describe_embeddings(a, self, has_class_token=True, has_bias=True)
        describe_layers(a, self, has_qkv_bias=self.qkv_bias)
        a.norm("norm", dim, bias=True, role="vision")
        for name, size, is_there in (
            ("pooler", dim, self.has_pooler),
            ("classifier", self.num_labels, self.num_labels),
        ):
            if is_there and size:
                a.weight(f"{name}.weight", (size, dim), "head")
                a.weight(f"{name}.bias", (size,), "head")
        a.attends(range(self.num_layers), heads, heads, dim // heads, is_causal=False, is_cached=False)
        a.traits = {
            "attention": f"MHA {heads}, bidirectional",
            "position": f"learned {self.num_patches} + 1",
            "norm": "LayerNorm, pre",
            "block": "norm → attention → + → norm → MLP → +",
            "mlp": mlp_in_words(self.activation, self.intermediate_size),
            "vision": f"patches of {self.patch_size} in {self.image_size}",
            "head": self.head,
        }
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, image_size=12, patch_size=4,
            head="image_classification", num_labels=5, norm_eps=3e-5,
        )  # fmt: skip
