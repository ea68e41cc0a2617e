"""What models give that read pictures, or texts and pictures in one space.

Shapes: B texts, T tokens, I images, S states of an image, D hidden, P the common space, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.export import register_dataclass


@dataclass(frozen=True)
class PairOutput:
    """What the towers give; parts that are not there, or were given nothing to read, are None."""

    text_hidden: Tensor | None = None  # [B, T, D] after the last norm; what stands at padding has no meaning
    text: Tensor | None = None  # [B, P] the vector of each text; of two towers, and of a projection, it has length 1
    image_hidden: Tensor | None = None  # [I, S, D] of all patches, and of a class token before them
    image: Tensor | None = None  # [I, P] the vector of each image, as those of texts
    logits: Tensor | None = None  # [I, B]: how well each image and text go together; [I, K]: the classes of images


@dataclass(frozen=True)
class ImageOutput:
    """What an encoder of images gives; parts that the model does not have are None."""

    hidden: Tensor  # [I, S, D], the class token first, then registers, if any, then the patches row by row
    pooled: Tensor | None = None  # [I, D], from the class token
    logits: Tensor | None = None  # [I, K]


register_dataclass(PairOutput)  # as trees of tensors, without which torch.export refuses the models
register_dataclass(ImageOutput)
