"""How towers for texts and for images of one size are configured, and what they are made of. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zoo.anatomy.builder import Anatomy
from zoo.anatomy.config import MISSING, multiple_of, one_of
from zoo.errors import ConfigError

ACTIVATIONS = ("quick_gelu", "gelu", "gelu_tanh", "relu", "silu")


@dataclass
class TextConfig:
    """A transformer over the tokens of a text, as beside the images of CLIP and SigLIP; the defaults are CLIP's."""

    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream; a multiple of num_heads
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels
    max_seq_len: int = 77  # tokens of context
    activation: str = "quick_gelu"  # of the MLP: quick_gelu | gelu | gelu_tanh | relu | silu
    norm_eps: float = 1e-5  # added to the variance

    def check(self, path: str) -> None:
        """Raise ConfigError, in terms of `path`, where sizes do not fit each other."""
        check_sizes(
            self, path, "vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "max_seq_len"
        )
        multiple_of(f"{path}.hidden_size", self.hidden_size, f"{path}.num_heads", self.num_heads)
        one_of(f"{path}.activation", self.activation, ACTIVATIONS)


class Layered(Protocol):
    """What `describe_layers` reads of a config."""

    hidden_size: int
    num_layers: int
    num_heads: int

    @property
    def intermediate_size(self) -> int:
        """Width of the MLPs."""
        ...


class Patched(Protocol):
    """What `describe_embeddings` reads of a config."""

    hidden_size: int
    patch_size: int
    num_channels: int

    @property
    def num_patches(self) -> int:
        """Patches of a training image."""
        ...


@dataclass
class TowerConfig:
    """A transformer over the patches of an image, as in CLIP and SigLIP. See zoo.nn.vision."""

    hidden_size: int = MISSING  # width of the residual stream; a multiple of num_heads
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels
    image_size: int = 224  # pixels along the sides of a training image
    patch_size: int = 16  # pixels along the sides of a patch; divides image_size
    num_channels: int = 3  # colours
    activation: str = "gelu"  # of the MLP: quick_gelu | gelu | gelu_tanh | relu | silu
    norm_eps: float = 1e-5  # added to the variance

    def check(self, path: str) -> None:
        """Raise ConfigError, in terms of `path`, where sizes do not fit each other."""
        check_sizes(
            self, path, "hidden_size", "intermediate_size", "num_layers", "num_heads", "patch_size", "num_channels"
        )
        multiple_of(f"{path}.hidden_size", self.hidden_size, f"{path}.num_heads", self.num_heads)
        one_of(f"{path}.activation", self.activation, ACTIVATIONS)
        if self.image_size < self.patch_size:
            raise ConfigError(f"{path}.image_size={self.image_size} is below {path}.patch_size={self.patch_size}")

    @property
    def num_patches(self) -> int:
        """Patches of a training image; pixels beyond the last whole patch are not read."""
        return (self.image_size // self.patch_size) ** 2


def check_sizes(record: object, path: str, *names: str) -> None:
    """Raise ConfigError, in terms of `path`, for a field below 1, or less than no layers."""
    for name, low in (*((name, 1) for name in names), ("num_layers", 0)):
        if (value := getattr(record, name, low)) < low:
            raise ConfigError(f"{path}.{name}={value} is below {low}")


def describe_embeddings(a: Anatomy, c: Patched, *, has_class_token: bool, has_bias: bool) -> None:
    """The weights of zoo.nn.vision.ImageEmbeddings, below `embed`."""
    with a.under("embed"):
        shape = (c.hidden_size, c.num_channels, c.patch_size, c.patch_size)
        a.weight("patches.weight", shape, "vision", is_matmul=True)
        if has_bias:
            a.weight("patches.bias", (c.hidden_size,), "vision")
        if has_class_token:
            a.weight("class_token", (c.hidden_size,), "vision")
        a.embedding("positions", c.num_patches + has_class_token, c.hidden_size, role="vision")


def describe_layers(a: Anatomy, c: Layered, *, has_qkv_bias: bool = True, is_vision: bool = True) -> None:
    """The weights of `num_layers` of zoo.nn.vision.vision_layer, below `layers`; a text tower has such layers too."""
    heads = c.num_heads, c.num_heads, c.hidden_size // c.num_heads
    norm, attn, mlp = ["vision"] * 3 if is_vision else ("norm", "attention", "mlp")
    with a.under("layers.{i}", range(c.num_layers)):
        a.norm("attn_norm", c.hidden_size, bias=True, role=norm)
        a.attn(c.hidden_size, *heads, bias=has_qkv_bias, out_bias=True, role=attn)
        a.norm("mlp_norm", c.hidden_size, bias=True, role=norm)
        a.mlp(c.hidden_size, c.intermediate_size, role=mlp)
