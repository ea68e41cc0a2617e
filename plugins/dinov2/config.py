"""How DINOv2 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    ACTIVATIONS,
    MISSING,
    Anatomy,
    ModelConfig,
    at_least,
    check_labels,
    describe_embeddings,
    mlp_in_words,
    multiple_of,
    one_of,
)
from zoo.errors import ConfigError

HEADS = ("none", "image_classification")


@dataclass
class Dinov2Config(ModelConfig):
    """DINOv2 (arXiv:2304.07193), and the same with registers (arXiv:2309.16588)."""

    family: str = "dinov2"
    hidden_size: int = MISSING  # width of the residual stream; a multiple of num_heads
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels
    mlp_ratio: int = 4  # width of the MLP over hidden_size; a gated one has two thirds of that
    is_gated: bool = False  # SwiGLU, as in the giant
    activation: str = "gelu"  # of an MLP that is not gated: gelu | gelu_tanh | quick_gelu | relu | silu
    image_size: int = 224  # pixels along the sides of a training image
    patch_size: int = 14  # pixels along the sides of a patch
    num_channels: int = 3  # colours
    num_registers: int | None = None  # tokens behind the class token; None: the models before them, which have none
    norm_eps: float = 1e-6  # added to the variance
    qkv_bias: bool = True  # q, k and v have biases; the output projection always has
    has_mask_token: bool = True  # what stands for patches that are hidden in training
    head: str = "none"  # none | image_classification
    num_labels: int | None = None  # classes of the head; None without one
    labels: list[str] = field(default_factory=list)  # their names, in order; empty: unnamed

    def __post_init__(self) -> None:
        at_least(1, hidden_size=self.hidden_size, num_heads=self.num_heads, num_layers=self.num_layers)
        at_least(1, mlp_ratio=self.mlp_ratio, patch_size=self.patch_size, num_channels=self.num_channels)
        at_least(1, num_registers=self.num_registers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        one_of("model.activation", self.activation, ACTIVATIONS)
        one_of("model.head", self.head, HEADS)
        if self.image_size < self.patch_size:
            raise ConfigError(f"model.image_size={self.image_size} is below model.patch_size={self.patch_size}")
        check_labels(self.head, ("image_classification",), self.num_labels, self.labels)
        if self.num_registers is not None and not self.has_mask_token:
            raise ConfigError("model.num_registers needs model.has_mask_token=true: all models with registers have it")

    @property
    def num_patches(self) -> int:
        """Patches of a training image; pixels beyond the last whole patch are not read."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def intermediate_size(self) -> int:
        """Width of the MLP; of a gated one in steps of 8."""
        width = self.hidden_size * self.mlp_ratio
        return (int(width * 2 / 3) + 7) // 8 * 8 if self.is_gated else width

    def anatomy(self) -> Anatomy:
        extra = 1 + (self.num_registers or 0)
        a, dim, heads = Anatomy(max_seq_len=self.num_patches + extra), self.hidden_size, self.num_heads
        describe_embeddings(a, self, has_class_token=True, has_bias=True)
        if self.has_mask_token:
            a.weight("embed.mask_token", (dim,), "vision")
        if self.num_registers is not None:
            a.weight("embed.registers", (self.num_registers, dim), "vision")
        with a.under("layers.{i}", range(self.num_layers)):
            a.norm("attn_norm", dim, bias=True, role="vision")
            a.attn(dim, heads, heads, dim // heads, bias=self.qkv_bias, out_bias=True, role="vision")
            a.norm("mlp_norm", dim, bias=True, role="vision")
            mlp = a.gated_mlp if self.is_gated else a.mlp
            mlp(dim, self.intermediate_size, bias=True, role="vision")
            for name in ("attn_scale", "mlp_scale"):
                a.weight(name, (dim,), "vision")
        a.norm("norm", dim, bias=True, role="vision")
        if self.num_labels is not None:
            a.weight("classifier.weight", (self.num_labels, 2 * dim), "head")
            a.weight("classifier.bias", (self.num_labels,), "head")
        a.attends(range(self.num_layers), heads, heads, dim // heads, is_causal=False, is_cached=False)
        kind = "silu" if self.is_gated else self.activation
        a.traits = {
            "attention": f"MHA {heads}, bidirectional",
            "position": f"learned {self.num_patches} + 1",
            "norm": "LayerNorm, pre",
            "block": "norm → attention × scale → + → norm → MLP × scale → +",
            "mlp": mlp_in_words(kind, self.intermediate_size, is_gated=self.is_gated),
            "vision": f"patches of {self.patch_size} in {self.image_size}, {self.num_registers or 'no'} registers",
            "head": self.head,
        }
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            hidden_size=24, mlp_ratio=2, num_layers=2, num_heads=3, image_size=14, patch_size=4, num_registers=2,
            head="image_classification", num_labels=5, norm_eps=3e-5,
        )  # fmt: skip
