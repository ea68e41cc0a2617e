"""CLIP (arXiv:2103.00020): texts and images in one space, in the layout of OpenAI's code and OpenCLIP's.

Shapes: B texts, T tokens, I images, C channels, H and W pixels, D hidden, P the common space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy import TextConfig, TowerConfig
from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, MLP, Attention, PairOutput, PreNormLayer, Span, initialise
from zoo.nn.vision import ImageEmbeddings, VisionLayers, vision_layer

from .config import CLIPConfig

LOGIT_SCALE = math.log(1 / 0.07)  # before training


class CLIP(nn.Module):
    """Two towers, or one of them alone. Positions of a text count columns, so pad on the right."""

    def __init__(self, c: CLIPConfig) -> None:
        super().__init__()
        self.config = c
        self.text = None if c.text is None else TextTower(c.text, c.end_token_ids, c.projection_size)
        self.vision = None if c.vision is None else ImageTower(c.vision, c.projection_size)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE)) if c.is_pair else None

    @property
    def vectors_by(self) -> str:
        """In words, how it makes vectors of texts and images."""
        return "its own pooled state" if self.config.projection_size is None else "its own projections, length 1"

    def forward(
        self, tokens: Tensor | None = None, pixels: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> PairOutput:
        """Encode tokens [B, T], pixels [I, C, H, W] or both. Raises UsageError for what no tower of it reads."""
        text_hidden = text = image_hidden = image = logits = None
        if tokens is not None:
            if self.text is None:
                raise UsageError("this CLIP model has no text tower")
            text_hidden, text = self.text(tokens, attention_mask)
        if pixels is not None:
            if self.vision is None:
                raise UsageError("this CLIP model has no image tower")
            image_hidden, image = self.vision(pixels)
        if self.config.projection_size is not None:
            text, image = (None if x is None else F.normalize(x, dim=-1, eps=0) for x in (text, image))
        if self.logit_scale is not None and text is not None and image is not None:
            logits = image @ text.mT * self.logit_scale.exp()
        return PairOutput(text_hidden, text, image_hidden, image, logits)

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)
        if self.logit_scale is not None:
            nn.init.constant_(self.logit_scale, LOGIT_SCALE)


class TextTower(nn.Module):
    """A causal transformer whose state at the end of the text stands for all of it."""

    def __init__(self, t: TextConfig, end_token_ids: list[int], projection_size: int | None) -> None:
        super().__init__()
        self.embed = nn.Embedding(t.vocab_size, t.hidden_size)
        self.positions = nn.Embedding(t.max_seq_len, t.hidden_size)
        self.layers = nn.ModuleList(_text_layer(t) for _ in range(t.num_layers))
        self.norm = nn.LayerNorm(t.hidden_size, t.norm_eps)
        self.projection = _projection(t.hidden_size, projection_size)
        self.end_token_ids, self.max_seq_len = end_token_ids, t.max_seq_len

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All states [B, T, D] of tokens [B, T], and what the end of each text became."""
        if tokens.shape[1] > self.max_seq_len:
            raise UsageError(f"{tokens.shape[1]} tokens are more than model.text.max_seq_len={self.max_seq_len}")
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
        x = self.embed(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, span)
        x = self.norm(x)
        state = x[torch.arange(x.shape[0], device=x.device), self._end(tokens)]
        return x, state if self.projection is None else self.projection(state)

    def _end(self, tokens: Tensor) -> Tensor:
        """The column [B] of each text's end: the first end token, the first column where there is none."""
        if not self.end_token_ids:
            return tokens.argmax(1)
        ends = torch.tensor(self.end_token_ids, device=tokens.device)
        return torch.isin(tokens, ends).int().argmax(1)


class ImageTower(VisionLayers):
    """A vision transformer with norms before and after, whose class token stands for the image."""

    def __init__(self, v: TowerConfig, projection_size: int | None) -> None:
        embed = ImageEmbeddings(
            v.hidden_size, image_size=v.image_size, patch_size=v.patch_size, num_channels=v.num_channels, has_bias=False
        )
        sizes = v.hidden_size, v.intermediate_size, v.num_heads, ACTIVATIONS[v.activation]
        super().__init__(
            embed,
            (vision_layer(*sizes, norm_eps=v.norm_eps) for _ in range(v.num_layers)),
            embed_norm=nn.LayerNorm(v.hidden_size, v.norm_eps),
            norm=nn.LayerNorm(v.hidden_size, v.norm_eps),
        )
        self.projection = _projection(v.hidden_size, projection_size)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """All states of pixels [I, C, H, W], and what the class tokens became."""
        x = self.states(pixels)
        assert self.norm is not None
        state = self.norm(x[:, 0])
        return x, state if self.projection is None else self.projection(state)


def _projection(hidden_size: int, size: int | None) -> nn.Linear | None:
    return None if size is None else nn.Linear(hidden_size, size, bias=False)


def _text_layer(t: TextConfig) -> PreNormLayer:
    heads = t.num_heads, t.num_heads, t.hidden_size // t.num_heads
    return PreNormLayer(
        attn=Attention(t.hidden_size, *heads, has_bias=True),
        mlp=MLP(t.hidden_size, t.intermediate_size, ACTIVATIONS[t.activation]),
        attn_norm=nn.LayerNorm(t.hidden_size, t.norm_eps),
        mlp_norm=nn.LayerNorm(t.hidden_size, t.norm_eps),
    )
