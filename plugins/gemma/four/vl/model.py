"""Gemma 4 with eyes, after the code in transformers: states of an image's patches take places in the text.

In local layers of the large models tokens of one image see each other in both directions, within the window; in global
layers everything sees what came before. Embeddings of text are multiplied by sqrt(hidden_size), what images become is
not. The embedding for each layer is that of padding where an image is.

Shapes: B batch, T tokens, D hidden, I images, S patches, R numbers of a patch.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.errors import UsageError
from zoo.nn import Cache, Mask, SettledCache, has_values
from zoo.nn.stand_ins import check_places, ends_of_runs, places_of, put

from ...sharing import SharingSpan
from ..model import Gemma4
from .config import Gemma4VLConfig
from .tower import PoolingTower


class SightedSpan(SharingSpan):
    """A pass in which tokens of an image see its later ones in local layers alone."""

    def reaches(self, mask: Mask) -> bool:
        return super().reaches(mask) and mask.window is not None


class Gemma4VL(Gemma4):
    """Gemma 4's decoder and a tower."""

    def __init__(self, c: Gemma4VLConfig) -> None:
        super().__init__(c)
        self.visual = PoolingTower(c.vision, c.hidden_size)

    def forward(
        self,
        tokens: Tensor,
        *,
        pixels: Tensor | None = None,
        shapes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits as of any decoder; `pixels` [I, S, R] are the patches of the images in the order of their places in
        the texts, `shapes` [I, 2] how many rows and columns of them each has.

        Raises UsageError where texts and images do not go together; an image is read in one pass.
        """
        span = SightedSpan(*tokens.shape, tokens.device, attention_mask=attention_mask, cache=cache)
        if (pixels is None) != (shapes is None):
            raise UsageError("pixels and shapes go together", hint="give both or neither")
        where = places_of(self.config.image_token_id, tokens, span)
        counts = [] if shapes is None else self.visual.counts(shapes)
        check_places(where, counts, of="an image", given=f"{len(counts)} images of {counts} tokens")
        self._refuse_unread(tokens, span)
        plain = self._plain(tokens)
        x = self.scaled(plain)
        if pixels is not None and shapes is not None and counts:
            x = put(x, where, self.visual(pixels, shapes))
            if self.config.sees_whole_images:
                span.reach = ends_of_runs(where, span.positions)
        self.lay_out(plain, x, span)
        logits = self.read(x, span, cache=cache, last=last)
        if span.reach is not None and isinstance(cache, SettledCache):
            cache.settle()
        return logits

    def encode(self, tokens: Tensor, span: Any) -> Tensor:
        return super().encode(self._plain(tokens), span)

    @property
    def markers(self) -> frozenset[int]:
        """Tokens that stand for something else, so that a draft may not guess them."""
        return frozenset((self.config.image_token_id, *self._unread))

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        if not self.config.sees_whole_images:
            return super().new_cache(batch_size, max_len)
        return SettledCache([layer.new_cache(batch_size, max_len) for layer in self.layers], batch_size, max_len)

    @property
    def _unread(self) -> tuple[int, int]:
        """Tokens that stand for what this family does not read."""
        return self.config.video_token_id, self.config.audio_token_id

    def _plain(self, tokens: Tensor) -> Tensor:
        """Tokens of text, and padding for those that stand for something else."""
        for marker in self.markers:
            tokens = tokens.masked_fill(tokens == marker, self.config.pad_token_id or 0)
        return tokens

    def _refuse_unread(self, tokens: Tensor, span: SharingSpan) -> None:
        """A prompt for a video or for sound is a mistake; a single token is one that the model itself wrote."""
        if span.num_new == 1 or not has_values(tokens):
            return
        for what, marker in zip(("videos", "sound"), self._unread, strict=True):
            if bool(places_of(marker, tokens, span).any()):
                raise UsageError(f"the text has places for {what} (token {marker}), which this family does not read")
