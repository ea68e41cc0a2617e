"""Qwen2-VL (arXiv:2409.12191) and Qwen2.5-VL (arXiv:2502.13923): a Qwen2 decoder that reads images and videos.

Images and videos come as patches, as the reference's processors cut them, with a grid each; in the text a row of
placeholder tokens stands for each, which the tower's tokens replace.

Shapes: B batch, T tokens, D hidden, P patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import Attention, Cache, Decoder, GatedMLP, MRope, PreNormLayer, RMSNorm, Span, has_values
from zoo.nn.vision import as_numbers

from .config import Qwen2VLConfig
from .positions import Seen, place
from .seeing import PlaceCache, SeeingSpan, put
from .tower import Tower, WindowedTower, sides_of
from .vision import WindowedVisionConfig


class Qwen2VL(Decoder):
    """Grouped-query attention with biases on q, k and v and positions of three dimensions, SwiGLU, and a tower."""

    visual: Any  # the tower

    def __init__(self, c: Qwen2VLConfig) -> None:
        super().__init__(c, self._new_layers(c), RMSNorm(c.hidden_size, c.norm_eps))
        self.visual = self._new_tower(c)

    @staticmethod
    def _new_layers(c: Any) -> Iterator[nn.Module]:
        rope = MRope(c.head_dim, c.rope, c.max_seq_len, c.rope_sections)
        return (_layer(c, rope) for _ in range(c.num_layers))

    @staticmethod
    def _new_tower(c: Any) -> nn.Module:
        is_windowed = isinstance(c.vision, WindowedVisionConfig)
        return (WindowedTower if is_windowed else Tower)(c.vision, c.hidden_size)

    def forward(
        self,
        tokens: Tensor,
        *,
        pixels: Tensor | None = None,
        grid: Tensor | None = None,
        video_pixels: Tensor | None = None,
        video_grid: Tensor | None = None,
        seconds_per_grid: Sequence[float] | Tensor | None = None,
        positions: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits as of any decoder. `pixels` are the patches [P, ...] of the images, whose `grid` [images, 3] has their
        numbers in time, height and width; `video_pixels` and `video_grid` likewise; `seconds_per_grid` tells how long
        each video's patches last (Qwen2.5-VL; 1 if None). `positions` [3, B, T] replace those that follow from these.

        Raises UsageError where placeholders in the text and what is given do not go together.
        """
        span = SeeingSpan(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask, cache=cache)
        grids = {"grid": grid, "video_grid": video_grid, "seconds_per_grid": seconds_per_grid}
        if positions is None:
            places, offsets = self.places(tokens, span, cache, **grids)
        else:
            places, offsets = positions, _ahead(positions, tokens, span)
        span.rotary_positions = places
        x = self.embed(self._without_placeholders(tokens))
        for pixel, sides, token in (
            (pixels, grid, self.config.image_token_id),
            (video_pixels, video_grid, self.config.video_token_id),
        ):
            x = self._filled(x, _real(tokens == token, span), pixel, sides, span)
        logits = self.read(x, span, cache=cache, last=last)
        if isinstance(cache, PlaceCache):
            cache.offsets = offsets
            if pixels is not None or video_pixels is not None or positions is not None:
                cache.settle()
        return logits

    def places(
        self,
        tokens: Tensor,
        span: Span,
        cache: Cache | None = None,
        *,
        grid: Tensor | None = None,
        video_grid: Tensor | None = None,
        seconds_per_grid: Sequence[float] | Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Rotary positions of `tokens` [B, T], and how far rows are then ahead of their number of tokens [B].

        None are the positions and lengths of plain text.
        """
        offsets = cache.offsets if isinstance(cache, PlaceCache) else None
        if grid is None and video_grid is None:
            self._refuse_placeholders(tokens, span)
            return (None if offsets is None else span.positions + offsets[:, None]), offsets
        seen = self._seen(grid, video_grid, seconds_per_grid)
        real = torch.ones_like(tokens, dtype=torch.bool) if span.padding is None else span.padding
        starts = span.positions.expand(len(tokens), -1)[:, 0] + (0 if offsets is None else offsets)
        found, ends = torch.zeros(3, *tokens.shape, dtype=torch.long), []
        for b, (row, is_real, start) in enumerate(zip(tokens, real, starts.tolist(), strict=True)):
            found[:, b, is_real.cpu()], end = place(row[is_real].tolist(), start, seen)
            ends.append(end)
        if any(next(rest, None) is not None for rest in seen.values()):
            raise UsageError("there are more images or videos than places for them in the text")
        return found.to(tokens.device), torch.tensor(ends, device=tokens.device) - span.lengths

    @property
    def markers(self) -> frozenset[int]:
        """Tokens that stand for something else, so that a draft may not guess them."""
        return frozenset((self.config.image_token_id, self.config.video_token_id))

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        return PlaceCache([layer.new_cache(batch_size, max_len) for layer in self.layers], batch_size, max_len)

    def _seen(
        self, grid: Tensor | None, video_grid: Tensor | None, seconds: Sequence[float] | Tensor | None
    ) -> dict[int, Iterator[Seen]]:
        """Images and videos in turn, by their placeholder."""
        c, merge = self.config, self.config.vision.merge_size
        images, videos = (sides_of(g, merge) for g in (grid, video_grid))
        lasts = [1.0] * len(videos) if seconds is None else [float(x) for x in seconds]
        if len(lasts) != len(videos):
            raise UsageError(f"{len(lasts)} seconds_per_grid for {len(videos)} videos")
        rate = getattr(c.vision, "tokens_per_second", None)
        steps = [1.0 if rate is None else rate * each for each in lasts]
        return {
            c.image_token_id: iter([Seen((t, h // merge, w // merge)) for t, h, w in images]),
            c.video_token_id: iter(
                [Seen((t, h // merge, w // merge), step) for (t, h, w), step in zip(videos, steps, strict=True)]
            ),
        }

    def _refuse_placeholders(self, tokens: Tensor, span: Span) -> None:
        """A prompt with a placeholder and no image is a mistake; a single token is one that the model itself wrote."""
        if span.num_new > 1 and has_values(tokens) and bool(_real(self._is_placeholder(tokens), span).any()):
            raise UsageError(
                "the text has placeholders for images or videos, but none are given",
                hint="give pixels= and grid=, or video_pixels= and video_grid=",
            )

    def _is_placeholder(self, tokens: Tensor) -> Tensor:
        return (tokens == self.config.image_token_id) | (tokens == self.config.video_token_id)

    def _without_placeholders(self, tokens: Tensor) -> Tensor:
        """Tokens that all have a row in the embedding; a placeholder need not have one."""
        return tokens.masked_fill(self._is_placeholder(tokens) & (tokens >= self.config.vocab_size), 0)

    def _filled(
        self, x: Tensor, where: Tensor, patches: Tensor | None, grid: Tensor | None, span: SeeingSpan
    ) -> Tensor:
        """x [B, T, D] with the tower's tokens in the places `where` [B, T]."""
        if (patches is None) != (grid is None):
            raise UsageError("pixels and their grid go together", hint="give both or neither")
        if patches is None or grid is None or not len(grid):
            return x
        return self._looked(x, where, as_numbers(patches, patches.dtype), grid, span)

    def _looked(self, x: Tensor, where: Tensor, patches: Tensor, grid: Tensor, span: SeeingSpan) -> Tensor:
        """x with what the tower makes of these patches in the places `where`."""
        return put(x, where, self.visual(patches, grid))


def _real(where: Tensor, span: Span) -> Tensor:
    return where if span.padding is None else where & span.padding


def _ahead(positions: Tensor, tokens: Tensor, span: Span) -> Tensor:
    """How far given positions [3, B, T] are ahead of the number of tokens [B]. Raises UsageError for another form."""
    expected = (3, *tokens.shape)
    if tuple(positions.shape) != expected or positions.is_floating_point():
        kind = str(positions.dtype).removeprefix("torch.")
        what = f"positions {list(positions.shape)} of {kind} are not integers {list(expected)}: time, height and width"
        raise UsageError(what)
    return positions.amax((0, 2)) + 1 - span.lengths


def _layer(c: Qwen2VLConfig, rope: MRope) -> PreNormLayer:
    heads = c.num_heads, c.num_kv_heads, c.head_dim
    return PreNormLayer(
        attn=Attention(c.hidden_size, *heads, rope=rope, has_bias=True, has_out_bias=False),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )
