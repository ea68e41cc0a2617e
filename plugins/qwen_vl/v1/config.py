"""How the first Qwen-VL is configured, and what it is made of; a family of its own beside its successors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    DecoderConfig,
    RopeConfig,
    TowerConfig,
    at_least,
    check_sizes,
    describe_embeddings,
    describe_layers,
    describe_trunk,
    multiple_of,
    rope_in_words,
)
from zoo.errors import ConfigError

HEAD_DIM = 128  # of the resampler


@dataclass
class VisualConfig:
    """The tower, OpenCLIP's ViT-bigG, and the resampler that sums up its patches."""

    hidden_size: int = MISSING  # width of the tower
    mlp_ratio: float = 4.0  # width of its MLP as a multiple of hidden_size, rounded down
    num_layers: int = MISSING  # blocks in the tower
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels
    image_size: int = 448  # pixels along the sides of an image
    patch_size: int = 14  # pixels along the sides of a patch
    num_queries: int = 256  # tokens that stand for an image; a square
    image_start_id: int = 151857  # begins an image in the text; the next two ids end one and pad its name

    @property
    def side(self) -> int:
        """The square root of num_queries; the tower's positions are of a grid of that side, whatever the image."""
        return round(self.num_queries**0.5)

    @property
    def tower(self) -> TowerConfig:
        """The tower, as of images for which its positions need not be stretched."""
        return TowerConfig(
            self.hidden_size, int(self.hidden_size * self.mlp_ratio), self.num_layers, self.num_heads,
            image_size=self.side * self.patch_size, patch_size=self.patch_size, norm_eps=1e-6,
        )  # fmt: skip


@dataclass
class QwenVLConfig(DecoderConfig):
    """Qwen-VL and Qwen-VL-Chat (arXiv:2308.12966)."""

    family: str = "qwen_vl"
    norm_eps: float = 1e-6  # added to the mean square
    trained_seq_len: int = MISSING  # tokens of context in training
    has_dynamic_ntk: bool = True  # beyond trained_seq_len the rotary base grows
    has_logn: bool = True  # beyond trained_seq_len queries grow by a logarithm
    linear_bias: bool = False  # o and the MLP have biases; q, k and v always do
    vision: VisualConfig = field(default_factory=VisualConfig)  # what reads images

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, trained_seq_len=self.trained_seq_len)
        if self.num_kv_heads != self.num_heads or self.head_dim * self.num_heads != self.hidden_size:
            raise ConfigError(
                f"model.num_heads={self.num_heads} heads of model.head_dim={self.head_dim} must fill "
                f"model.hidden_size={self.hidden_size}, model.num_kv_heads={self.num_kv_heads} must be the same"
            )
        if self.rope.scaling != "none":
            raise ConfigError(f"model.rope.scaling={self.rope.scaling!r} cannot be used with this family")
        v = self.vision
        check_sizes(v, "model.vision", "num_queries", "image_size")
        v.tower.check("model.vision")
        multiple_of("model.hidden_size", self.hidden_size, "the resampler's head", HEAD_DIM)
        multiple_of("model.vision.image_size", v.image_size, "model.vision.patch_size", v.patch_size)
        if v.side**2 != v.num_queries:
            raise ConfigError(f"model.vision.num_queries={v.num_queries} is not a square number")

    def anatomy(self) -> Anatomy:
        bias, v = self.linear_bias, self.vision
        with describe_trunk(self, self.heads, position=rope_in_words(self.rope), bias=True, out_bias=bias) as a:
            a.gated_mlp(self.hidden_size, self.intermediate_size, bias=bias)
        self._describe_vision(a)
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        a.traits["vision"] = f"ViT {v.num_layers} × {v.hidden_size}, {v.num_queries} queries"
        return a

    def _describe_vision(self, a: Anatomy) -> None:
        v, dim = self.vision, self.hidden_size
        with a.off_the_text(), a.under("visual"):
            with a.under("tower"):
                describe_embeddings(a, v.tower, has_class_token=False, has_bias=False)
                a.norm("embed_norm", v.hidden_size, bias=True, role="vision")
                describe_layers(a, v.tower)
            with a.under("resampler"):
                for table in ("queries", "positions"):
                    a.weight(table, (v.num_queries, dim), "vision")
                a.linear("kv_proj", v.hidden_size, dim, "vision")
                for norm in ("q_norm", "kv_norm"):
                    a.norm(norm, dim, bias=True, role="vision")
                a.attn(dim, dim // HEAD_DIM, dim // HEAD_DIM, HEAD_DIM, bias=True, role="vision")
            a.norm("norm", dim, bias=True, role="vision")
            a.linear("proj", dim, dim, "vision")

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=128, intermediate_size=40, num_layers=2, num_heads=4, num_kv_heads=4,
            head_dim=32, max_seq_len=64, norm_eps=3e-5, trained_seq_len=48, rope=RopeConfig(theta=1000.0),
            # the image's ids lie beyond the vocabulary: random text then holds none
            vision=VisualConfig(hidden_size=16, mlp_ratio=2.32, num_layers=2, num_heads=2, image_size=12, patch_size=2,
                             num_queries=9, image_start_id=61),
        )  # fmt: skip
