"""Contrast of two towers: each image with its own text against all others of the batch, or each pair by itself.

Shapes: N pairs, P the common space.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn.norm import at_least_float32


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """CLIP's symmetric loss of images [N, P] and their texts [N, P] (arXiv:2103.00020, figure 3).

    Both are brought to length 1 here. `scale` multiplies the cosines: the exponent of the learned logit scale.
    Raises UsageError for two sides of different shapes.
    """
    logits = scale * _cosines(image, text)
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2


def sigmoid_loss(image: Tensor, text: Tensor, scale: Tensor | float, bias: Tensor | float) -> Tensor:
    """SigLIP's loss of images [N, P] and their texts [N, P] (arXiv:2303.15343, algorithm 1), each with all.

    Both are brought to length 1 here; scale * cosine + bias is the logit of the claim that two belong together.
    Raises UsageError for two sides of different shapes.
    """
    logits = scale * _cosines(image, text) + bias
    claims = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -F.logsigmoid(claims * logits).sum() / len(logits)


def _cosines(image: Tensor, text: Tensor) -> Tensor:
    if image.shape != text.shape:
        raise UsageError(f"images {list(image.shape)} and texts {list(text.shape)} are not pairs")
    image, text = (F.normalize(at_least_float32(side), dim=-1) for side in (image, text))
    return image @ text.mT
