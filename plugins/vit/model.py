"""ViT (arXiv:2010.11929), with the layer norm's epsilon and the bicubic positions of Google's released code.

Shapes: B images, C channels, H and W pixels, P patches and the class token, D hidden, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.nn import ACTIVATIONS, ImageOutput, initialise
from zoo.nn.vision import ImageEmbeddings, VisionLayers, vision_layer

from .config import ViTConfig


class ViT(VisionLayers):
    """Images of any size of whole patches: positions are interpolated where it is not that of training."""

    def __init__(self, c: ViTConfig) -> None:
        sizes = c.hidden_size, c.intermediate_size, c.num_heads, ACTIVATIONS[c.activation]
        super().__init__(
            ImageEmbeddings(
                c.hidden_size, image_size=c.image_size, patch_size=c.patch_size, num_channels=c.num_channels
            ),
            (vision_layer(*sizes, norm_eps=c.norm_eps, has_qkv_bias=c.qkv_bias) for _ in range(c.num_layers)),
            norm=nn.LayerNorm(c.hidden_size, c.norm_eps),
        )
        self.config = c
        self.pooler = nn.Linear(c.hidden_size, c.hidden_size) if c.has_pooler else None
        self.classifier = None if c.num_labels is None else nn.Linear(c.hidden_size, c.num_labels)

    def forward(self, pixels: Tensor) -> ImageOutput:
        """Encode pixels [B, C, H, W]. Raises UsageError for images that are not whole patches."""
        assert self.norm is not None
        x = self.norm(self.states(pixels))
        pooled = None if self.pooler is None else torch.tanh(self.pooler(x[:, 0]))
        return ImageOutput(x, pooled, None if self.classifier is None else self.classifier(x[:, 0]))

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)
