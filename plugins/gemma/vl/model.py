"""Gemma 3 with eyes (arXiv:2503.19786): SigLIP's patches, averaged to a few tokens, take places in the text.

Tokens of one image see each other in both directions, everything else sees what came before. In local layers, where
the window bounds how far back a token sees, an image's later tokens are in sight whatever their distance.
Embeddings of text are multiplied by sqrt(hidden_size), what images become is not.

Shapes: B batch, T tokens, D hidden, I images, C channels, H image side, P patches, V width of the tower.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, Cache, SettledCache, Span, UnitOffsetRMSNorm
from zoo.nn.stand_ins import check_places, ends_of_runs, places_of, put
from zoo.nn.vision import ImageEmbeddings, VisionTower, vision_layer

from ..model import Gemma
from .config import Gemma3VLConfig


class Gemma3VL(Gemma):
    """Gemma 3's decoder and a tower."""

    def __init__(self, c: Gemma3VLConfig) -> None:
        super().__init__(c)
        self.visual = GemmaVisual(c)

    def forward(
        self,
        tokens: Tensor,
        *,
        pixels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits as of any decoder; `pixels` [I, C, H, H] are the images in the order of their places in the texts.

        Raises UsageError where texts and images do not go together; an image is read in one pass.
        """
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask, cache=cache)
        c, n = self.config, 0 if pixels is None else len(pixels)
        where, each = places_of(c.image_token_id, tokens, span), c.tokens_per_image
        check_places(where, [each] * n, of="an image", given=f"{n} images of {each}")
        x = self.encode(tokens.masked_fill(tokens == c.image_token_id, 0) if self._is_beyond else tokens, span)
        if pixels is not None:
            x = put(x, where, self.visual(pixels))
            span.reach = ends_of_runs(where, span.positions)
        logits = self.read(x, span, cache=cache, last=last)
        if pixels is not None and isinstance(cache, SettledCache):
            cache.settle()
        return logits

    @property
    def markers(self) -> frozenset[int]:
        """Tokens that stand for something else, so that a draft may not guess them."""
        return frozenset([self.config.image_token_id])

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        return SettledCache([layer.new_cache(batch_size, max_len) for layer in self.layers], batch_size, max_len)

    @property
    def _is_beyond(self) -> bool:
        """Whether the images' token has no row in the embedding."""
        return self.config.image_token_id >= self.config.vocab_size


class GemmaVisual(nn.Module):
    """SigLIP's states, averaged over squares of patches, normed and projected to the decoder's width."""

    def __init__(self, c: Gemma3VLConfig) -> None:
        super().__init__()
        v = c.vision
        embed = ImageEmbeddings(
            v.hidden_size, image_size=v.image_size, patch_size=v.patch_size, num_channels=v.num_channels,
            has_class_token=False,
        )  # fmt: skip
        sizes = v.hidden_size, v.intermediate_size, v.num_heads, ACTIVATIONS[v.activation]
        layers = (vision_layer(*sizes, norm_eps=v.norm_eps) for _ in range(v.num_layers))
        self.tower = VisionTower(embed, layers, norm=nn.LayerNorm(v.hidden_size, v.norm_eps))
        self.norm = UnitOffsetRMSNorm(v.hidden_size, v.norm_eps)
        self.proj = nn.Linear(v.hidden_size, c.hidden_size, bias=False)
        self.image_size, self.num_patches = v.image_size, v.image_size // v.patch_size
        self.pool = self.num_patches // c.side

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [I, C, H, H] to [I, tokens, D]. Raises UsageError for images of another size than in training."""
        if tuple(pixels.shape[2:]) != (self.image_size, self.image_size):
            size = self.image_size
            raise UsageError(f"pixels of shape {list(pixels.shape)} are not images of {size} x {size}")
        x = self.tower(pixels).mT.unflatten(-1, (self.num_patches, self.num_patches))  # [I, V, rows, columns]
        x = F.avg_pool2d(x, self.pool).flatten(2).mT
        return self.proj(self.norm(x))
