"""SigLIP (arXiv:2303.15343) and SigLIP 2 (arXiv:2502.14786): each pair of an image and a text is judged by itself.

Logits are scale * cosine + bias, and their sigmoids probabilities. A text is read in both directions, and its vector is
made of its last token, which is padding for all texts but the longest: in training every text had max_seq_len tokens,
and no mask. A model called with fewer tokens, or with a mask, computes as it is told; `zoo embed` pads.

Shapes: B texts, T tokens, I images, C channels, H and W pixels, S patches, D hidden, P the common space, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, MLP, AttentionPool, PairOutput, Span, initialise
from zoo.nn.vision import ImageEmbeddings, VisionLayers, vision_layer

from .config import SiglipConfig, SiglipTextConfig, SiglipVisionConfig

LOGIT_SCALE, LOGIT_BIAS = math.log(10.0), -10.0  # before training


class Siglip(nn.Module):
    """Two towers, one of them alone, or the one for images with classes. Positions of a text count columns."""

    vision: Any  # a tower, or None

    def __init__(self, c: SiglipConfig) -> None:
        super().__init__()
        self.config = c
        self.text = None if c.text is None else SiglipText(c.text)
        self.vision = None if c.vision is None else self.tower(c.vision)
        self.classifier = None
        if c.num_labels is not None and c.vision is not None:
            self.classifier = nn.Linear(c.vision.hidden_size, c.num_labels)
        self.logit_scale = nn.Parameter(torch.tensor([LOGIT_SCALE])) if c.is_pair else None
        self.logit_bias = nn.Parameter(torch.tensor([LOGIT_BIAS])) if c.is_pair else None

    def tower(self, v: SiglipVisionConfig) -> nn.Module:
        """What reads images."""
        return SiglipVision(v)

    @property
    def row_len(self) -> int | None:
        """Tokens to which a text is padded before it is read, without a mask."""
        return None if self.text is None else self.text.max_seq_len

    @property
    def vectors_by(self) -> str:
        """In words, how it makes vectors of texts and images."""
        return "its own projections, length 1" if self.config.is_pair else "its own pooled state"

    def forward(
        self, tokens: Tensor | None = None, pixels: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> PairOutput:
        """Encode tokens [B, T], pixels [I, C, H, W] or both. Raises UsageError for what no tower of it reads."""
        text_hidden = text = image_hidden = image = None
        if tokens is not None:
            if self.text is None:
                raise UsageError("this SigLIP model has no text tower")
            text_hidden, text = self.text(tokens, attention_mask)
        if pixels is not None:
            if self.vision is None:
                raise UsageError("this SigLIP model has no image tower")
            image_hidden, image = self.vision(pixels)
        if self.classifier is not None and image_hidden is not None:
            return PairOutput(None, None, image_hidden, image, self.classifier(image_hidden.mean(1)))
        return self.judged(text_hidden, text, image_hidden, image)

    def judged(
        self, text_hidden: Tensor | None, text: Tensor | None, image_hidden: Tensor | None, image: Tensor | None
    ) -> PairOutput:
        """What the towers gave; of a pair the vectors have length 1, and each image is held to each text."""
        logits = None
        if self.logit_scale is not None and self.logit_bias is not None:
            text, image = (None if x is None else F.normalize(x, dim=-1, eps=0) for x in (text, image))
            if text is not None and image is not None:
                logits = image @ text.mT * self.logit_scale.exp() + self.logit_bias
        return PairOutput(text_hidden, text, image_hidden, image, logits)

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)
        if self.logit_scale is not None and self.logit_bias is not None:
            nn.init.constant_(self.logit_scale, LOGIT_SCALE)
            nn.init.constant_(self.logit_bias, LOGIT_BIAS)


class SiglipText(nn.Module):
    """A transformer without a causal mask, whose last state becomes the text's vector."""

    def __init__(self, t: SiglipTextConfig) -> None:
        super().__init__()
        sizes = t.hidden_size, t.intermediate_size, t.num_heads, ACTIVATIONS[t.activation]
        self.embed = nn.Embedding(t.vocab_size, t.hidden_size)
        self.positions = nn.Embedding(t.max_seq_len, t.hidden_size)
        self.layers = nn.ModuleList(vision_layer(*sizes, norm_eps=t.norm_eps) for _ in range(t.num_layers))
        self.norm = nn.LayerNorm(t.hidden_size, t.norm_eps)
        self.projection = nn.Linear(t.hidden_size, t.projection_size)
        self.max_seq_len = t.max_seq_len

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All states [B, T, D] of tokens [B, T], and the vector [B, P] of each text."""
        if tokens.shape[1] > self.max_seq_len:
            raise UsageError(f"{tokens.shape[1]} tokens are more than model.text.max_seq_len={self.max_seq_len}")
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
        x = self.embed(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, span)
        x = self.norm(x)
        return x, self.projection(x[:, -1])


class SiglipVision(VisionLayers):
    """A vision transformer without a class token; a learned query makes one vector of its patches."""

    def __init__(self, v: SiglipVisionConfig) -> None:
        embed = ImageEmbeddings(
            v.hidden_size, image_size=v.image_size, patch_size=v.patch_size, num_channels=v.num_channels,
            has_class_token=False,
        )  # fmt: skip
        sizes = v.hidden_size, v.intermediate_size, v.num_heads, ACTIVATIONS[v.activation]
        layers = (vision_layer(*sizes, norm_eps=v.norm_eps) for _ in range(v.num_layers))
        super().__init__(embed, layers, norm=nn.LayerNorm(v.hidden_size, v.norm_eps))
        self.pool = attention_pool(v) if v.has_pool else None

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """All states [I, S, D] of pixels [I, C, H, W], and the vector [I, D] of each image."""
        assert self.norm is not None
        x = self.norm(self.states(pixels))
        return x, None if self.pool is None else self.pool(x)


def attention_pool(v: SiglipVisionConfig) -> AttentionPool:
    """What makes one vector of an image's patches."""
    mlp = MLP(v.hidden_size, v.intermediate_size, ACTIVATIONS[v.activation])
    return AttentionPool(v.hidden_size, v.num_heads, mlp=mlp, norm=nn.LayerNorm(v.hidden_size, v.norm_eps))
