"""DINOv2 (arXiv:2304.07193) with the registers of arXiv:2309.16588, as transformers computes it.

Positions for images of another size are stretched in float32 at least and to the size itself, without the offset of
0.1 of the first release; the models with registers smooth where they shrink, those without do not.

Shapes: I images, C channels, H and W pixels, P patches, R registers, S = 1 + R + P, D hidden, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, MLP, Attention, GatedMLP, ImageOutput, PreNormLayer, Span, everything, initialise
from zoo.nn.vision import as_numbers, check_pixels, interpolated

from .config import Dinov2Config


class Dinov2(nn.Module):
    """Images of any size of whole patches."""

    vectors_by = "its own class token, normed"  # in words, how it makes vectors of images

    def __init__(self, c: Dinov2Config) -> None:
        super().__init__()
        self.config = c
        self.embed = Dinov2Embeddings(c)
        self.layers = nn.ModuleList(Dinov2Layer(c) for _ in range(c.num_layers))
        self.norm = nn.LayerNorm(c.hidden_size, c.norm_eps)
        self.classifier = None if c.num_labels is None else nn.Linear(2 * c.hidden_size, c.num_labels)

    def forward(self, pixels: Tensor, masked: Tensor | None = None) -> ImageOutput:
        """Encode pixels [I, C, H, W]; patches that are True in `masked` [I, P] are hidden behind the mask token.

        Raises UsageError for images that are not whole patches.
        """
        x = self.embed(pixels, masked)
        span = Span(x.shape[0], x.shape[1], x.device)
        for layer in self.layers:
            x = layer(x, span)
        x = self.norm(x)
        if self.classifier is None:
            return ImageOutput(x, x[:, 0])
        seen = torch.cat((x[:, 0], x[:, self.embed.num_before :].mean(1)), -1)
        return ImageOutput(x, x[:, 0], self.classifier(seen))

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)


class Dinov2Embeddings(nn.Module):
    """A class token, registers, which have no position, and the patches."""

    def __init__(self, c: Dinov2Config) -> None:
        super().__init__()
        self.image_size, self.patch_size, self.side = c.image_size, c.patch_size, c.image_size // c.patch_size
        self.patches = nn.Conv2d(c.num_channels, c.hidden_size, c.patch_size, c.patch_size)
        self.class_token = nn.Parameter(torch.zeros(c.hidden_size))
        self.mask_token = nn.Parameter(torch.zeros(c.hidden_size)) if c.has_mask_token else None
        self.registers = None if c.num_registers is None else nn.Parameter(torch.zeros(c.num_registers, c.hidden_size))
        self.positions = nn.Embedding(self.side**2 + 1, c.hidden_size)
        self.num_before = 1 + (c.num_registers or 0)  # what stands before the patches

    def reset_parameters(self) -> None:
        for token in (self.class_token, self.mask_token, self.registers):
            if token is not None:
                nn.init.normal_(token, std=0.02)

    def forward(self, pixels: Tensor, masked: Tensor | None = None) -> Tensor:
        """pixels [I, C, H, W] to [I, S, D]. Raises UsageError for sizes that are no whole patches."""
        sides = check_pixels(pixels, self.patches.in_channels, self.patch_size, trained=self.image_size)
        x = self.patches(as_numbers(pixels, self.patches.weight.dtype)).flatten(2).mT
        if masked is not None:
            if self.mask_token is None:
                raise UsageError("this DINOv2 model has no mask token", hint="leave masked out")
            x = torch.where(masked[..., None], self.mask_token, x)
        first, rest = self.positions.weight[:1], self.positions.weight[1:]
        if sides != (self.side, self.side):
            rest = interpolated(rest, self.side, sides, is_smooth=self.registers is not None)
        before = (self.class_token + first).expand(x.shape[0], 1, -1)
        if self.registers is not None:
            before = torch.cat((before, self.registers.expand(x.shape[0], -1, -1)), 1)
        return torch.cat((before, x + rest), 1)


class Dinov2Layer(PreNormLayer):
    """x + s * attn(norm(x)), then x + t * mlp(norm(x)), with s and t learned per channel (arXiv:2103.17239)."""

    def __init__(self, c: Dinov2Config) -> None:
        dim, heads = c.hidden_size, c.num_heads
        attn = Attention(dim, heads, heads, dim // heads, mask=everything, has_bias=c.qkv_bias, has_out_bias=True)
        mlp: nn.Module = MLP(dim, c.intermediate_size, ACTIVATIONS[c.activation])
        if c.is_gated:
            mlp = GatedMLP(dim, c.intermediate_size, ACTIVATIONS["silu"], bias=True)
        super().__init__(attn, mlp, nn.LayerNorm(dim, c.norm_eps), nn.LayerNorm(dim, c.norm_eps))
        self.attn_scale, self.mlp_scale = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.attn_scale)
        nn.init.ones_(self.mlp_scale)

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = x + self.attn_scale * self.attn(self.attn_norm(x), span, cache)
        return x + self.mlp_scale * self.mlp(self.mlp_norm(x))
