"""How a Gemma 4 that reads images is configured; a family of its own beside the text decoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import MISSING, Anatomy, RopeConfig, check_sizes, multiple_of
from zoo.errors import ConfigError

from ..anatomy import NORMS
from ..config import Gemma4Config

COLOURS = 3


@dataclass
class PoolingTowerConfig:
    """A transformer over the patches of an image of any shape, squares of whose states become one."""

    hidden_size: int = MISSING  # width of the residual stream; a multiple of num_heads
    intermediate_size: int = MISSING  # width of the gated MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels, a multiple of 4
    patch_size: int = 16  # pixels along the sides of a patch
    pool_size: int = 3  # squares of so many patches along the sides become one state
    num_positions: int = 10_240  # learned positions of columns, and as many of rows: the most patches on a side
    theta: float = 100.0  # base of the rotary frequencies of columns and rows
    norm_eps: float = 1e-6  # added to the mean square
    is_clipped: bool = False  # what enters and leaves each matrix stays within learned bounds
    is_standardised: bool = False  # a learned vector is taken off the states, and they are times another

    def check(self, path: str) -> None:
        """Raise ConfigError, in terms of `path`, where sizes do not fit each other."""
        names = "hidden_size intermediate_size num_layers num_heads patch_size pool_size num_positions".split()
        check_sizes(self, path, *names)
        multiple_of(f"{path}.hidden_size", self.hidden_size, f"{path}.num_heads", self.num_heads)
        multiple_of(f"{path}'s channels of a head", self.head_dim, "pairs for column and row", 4)
        if not 1 < self.theta <= 1e12:
            raise ConfigError(f"{path}.theta={self.theta!r} is not above 1 and up to 1e12")

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.hidden_size // self.num_heads

    @property
    def patch_dim(self) -> int:
        """Numbers of a patch."""
        return COLOURS * self.patch_size**2

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """The matrices of a layer, and how many channels they take and give."""
        width, wide = self.hidden_size, self.intermediate_size
        attention = dict.fromkeys((f"attn.{part}_proj" for part in "qkvo"), (width, width))
        return attention | {
            "mlp.gate_proj": (width, wide), "mlp.up_proj": (width, wide), "mlp.down_proj": (wide, width)
        }  # fmt: skip

    def describe(self, a: Anatomy) -> None:
        """The tower's weights."""
        with a.under("embed"):
            a.linear("patches", self.patch_dim, self.hidden_size, "vision")
            a.weight("positions", (2, self.num_positions, self.hidden_size), "vision")
        with a.under("layers.{i}", range(self.num_layers)):
            for name in NORMS:
                a.norm(name, self.hidden_size, role="vision")
            for name in ("attn.q_norm", "attn.k_norm"):
                a.norm(name, self.head_dim, role="vision")
            for name, (taken, given) in self.matrices.items():
                a.linear(f"{name}.linear" if self.is_clipped else name, taken, given, "vision")
                if self.is_clipped:
                    a.weight(f"{name}.bounds", (4,), "vision")
        for name in ("shift", "scale") if self.is_standardised else ():
            a.weight(name, (self.hidden_size,), "vision")


@dataclass
class Gemma4VLConfig(Gemma4Config):
    """Gemma 4 (Google, 2026) with the tower for images; sound and videos are not read."""

    family: str = "gemma4_vl"
    sees_whole_images: bool = False  # in local layers tokens of an image see its later ones, too
    image_token_id: int = 258_880  # stands in the text for each state of an image
    image_start_id: int = 255_999  # stands before an image
    image_end_id: int = 258_882  # stands after it
    video_token_id: int = 258_884  # would stand for a state of a video; read as padding
    audio_token_id: int = 258_881  # would stand for a state of sound; read as padding
    vision: PoolingTowerConfig = field(default_factory=PoolingTowerConfig)  # what reads images

    def __post_init__(self) -> None:
        super().__post_init__()
        self.vision.check("model.vision")
        markers = {name: getattr(self, name) for name in ("image_token_id", "video_token_id", "audio_token_id")}
        if len({*markers.values()}) < len(markers):
            told = ", ".join(f"model.{name}={value}" for name, value in markers.items())
            raise ConfigError(f"{told} are not three tokens")
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            what = f"model.pad_token_id={self.pad_token_id}, whose embedding is read where pictures are,"
            raise ConfigError(f"{what} is not in a vocabulary of {self.vocab_size}")

    def anatomy(self) -> Anatomy:
        a, v = super().anatomy(), self.vision
        with a.off_the_text(), a.under("visual"):
            v.describe(a)
            a.linear("proj", v.hidden_size, self.hidden_size, "vision")
        a.traits["vision"] = f"ViT {v.num_layers} × {v.hidden_size}, a token for {v.pool_size} × {v.pool_size} patches"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=20, num_layers=6, num_heads=6, num_kv_heads=3, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, sliding_window=5, global_layers=[1, 3, 5], global_head_dim=16,
            global_kv_heads=2, has_equal_keys=True, sharing_from=4, is_doubled=True, layer_embed_dim=9,
            num_experts=5, experts_per_token=2, expert_size=14, rope=RopeConfig(theta=5000.0),
            local_rope=RopeConfig(theta=70.0), final_softcap=15.0, sees_whole_images=True,
            # ids beyond the vocabulary: random text then holds none
            image_token_id=61, image_start_id=62, image_end_id=63, video_token_id=64, audio_token_id=65,
            vision=PoolingTowerConfig(hidden_size=16, intermediate_size=20, num_layers=2, num_heads=2, patch_size=2,
                                      pool_size=2, num_positions=9, theta=30.0, norm_eps=2e-5, is_clipped=True,
                                      is_standardised=True),
        )  # fmt: skip
