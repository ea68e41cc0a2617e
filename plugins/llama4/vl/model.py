"""Llama 4 with eyes (Meta, 2025), after meta-llama/llama-models: an image is cut into tiles, a tile becomes states.

Shapes: B batch, T tokens, D hidden, I tiles, C channels, H side of a tile, P patches, V width of the tower.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy import RopeConfig
from zoo.errors import UsageError
from zoo.nn import MLP, Attention, Cache, PreNormLayer, Span, at_least_float32, everything
from zoo.nn.stand_ins import check_places, places_of, put
from zoo.nn.vision import VisionTower, as_numbers

from ..model import ExactRope, Llama4
from .config import Llama4VLConfig, TileTowerConfig

EPS = 1e-5  # of the tower's norms


class Llama4VL(Llama4):
    """Llama 4's decoder and a tower."""

    def __init__(self, c: Llama4VLConfig) -> None:
        super().__init__(c)
        self.visual = Llama4Visual(c)

    def forward(
        self,
        tokens: Tensor,
        *,
        pixels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits as of any decoder; `pixels` [I, C, H, H] are the tiles in the order of their places in the texts.

        Raises UsageError where texts and tiles do not go together; a tile is read in one pass.
        """
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask, cache=cache)
        c, n = self.config, 0 if pixels is None else len(pixels)
        where, each = places_of(c.image_token_id, tokens, span), c.vision.num_states
        check_places(where, [each] * n, of="a tile", given=f"{n} tiles of {each}")
        is_beyond = c.image_token_id >= c.vocab_size  # the token has no row in the embedding
        x = self.encode(tokens.masked_fill(tokens == c.image_token_id, 0) if is_beyond else tokens, span)
        if pixels is not None:
            x = put(x, where, self.visual(pixels))
        return self.read(x, span, cache=cache, last=last)

    @property
    def markers(self) -> frozenset[int]:
        """Tokens that stand for something else, so that a draft may not guess them."""
        return frozenset([self.config.image_token_id])


class Llama4Visual(nn.Module):
    """The tower's states, squares of which become one, through two layers and a projection to the decoder's width."""

    def __init__(self, c: Llama4VLConfig) -> None:
        super().__init__()
        v = c.vision
        self.tower = VisionTower(
            TileEmbeddings(v), (tile_layer(v) for _ in range(v.num_layers)),
            embed_norm=nn.LayerNorm(v.hidden_size, EPS), norm=nn.LayerNorm(v.hidden_size, EPS),
        )  # fmt: skip
        self.merge_proj = nn.Linear(v.intermediate_size, v.output_size, bias=False)
        self.mix_proj = nn.Linear(v.output_size, v.output_size, bias=False)
        self.proj = nn.Linear(v.output_size, c.hidden_size, bias=False)
        self.side, self.merge = v.image_size // v.patch_size, v.merge_size
        self.image_size, self.num_channels = v.image_size, v.num_channels

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [I, C, H, H] to [I, states, D]. Raises UsageError for tiles of another size than in training."""
        size = self.image_size
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (self.num_channels, size, size):
            sizes = f"[tiles, {self.num_channels}, {size}, {size}]"
            raise UsageError(f"pixels of shape {list(pixels.shape)} are not {sizes}")
        x = self.tower(pixels)[:, :-1]  # the class token is not read
        m, n = self.merge, self.side // self.merge
        x = x.unflatten(1, (n, m, n, m)).transpose(2, 3).flatten(3).flatten(1, 2)  # [I, states, m*m*V], row by row
        return self.proj(F.gelu(self.mix_proj(F.gelu(self.merge_proj(x)))))


class TileEmbeddings(nn.Module):
    """A tile's patches, each projected to a state, a class token behind them, and a learned position for each."""

    def __init__(self, v: TileTowerConfig) -> None:
        super().__init__()
        self.patches = nn.Conv2d(v.num_channels, v.hidden_size, v.patch_size, v.patch_size, bias=False)
        self.class_token = nn.Parameter(torch.zeros(v.hidden_size))
        self.positions = nn.Embedding(v.num_patches + 1, v.hidden_size)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.class_token, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [I, C, H, H] to [I, P + 1, V]."""
        x = self.patches(as_numbers(pixels, self.patches.weight.dtype)).flatten(2).mT
        return torch.cat((x, self.class_token.expand(len(x), 1, -1)), 1) + self.positions.weight


class TileRope(ExactRope):
    """Half of a head's pairs turn with the column, the other half with the row, both counted from 1.

    Pairs are channels 2c and 2c + 1. The last state, the class token's, does not turn.
    """

    def __init__(self, v: TileTowerConfig) -> None:
        half = v.hidden_size // v.num_heads // 2
        super().__init__(half, RopeConfig(v.theta), v.num_patches + 1, is_interleaved=True)
        self.side = v.image_size // v.patch_size

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """cos and sin [1, P + 1, 1, H] of patches at `positions` [1, P + 1], row by row."""
        is_patch = positions < self.side**2
        places = (torch.where(is_patch, line + 1, 0) for line in (positions % self.side, positions // self.side))
        cos, sin = zip(*(super(TileRope, self).forward(place, dtype) for place in places), strict=True)
        return torch.cat(cos, -1), torch.cat(sin, -1)

    def rotate(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate x [I, P + 1, N, H]."""
        cos, sin = rotation
        y = at_least_float32(x)
        partner = y.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        return (y * cos + partner * sin).to(x.dtype)


def tile_layer(v: TileTowerConfig) -> PreNormLayer:
    heads = v.num_heads, v.num_heads, v.hidden_size // v.num_heads
    return PreNormLayer(
        attn=Attention(v.hidden_size, *heads, rope=TileRope(v), mask=everything, has_bias=True),
        mlp=MLP(v.hidden_size, v.intermediate_size, F.gelu),
        attn_norm=nn.LayerNorm(v.hidden_size, EPS),
        mlp_norm=nn.LayerNorm(v.hidden_size, EPS),
    )
