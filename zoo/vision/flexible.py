"""Pictures of any shape as patches, as many as fit: what SigLIP 2's NaFlex reads, as transformers' processor makes it.

Shapes: I images, S patches, R numbers of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.vision.processing import Processing, numbers_of

if TYPE_CHECKING:
    from PIL.Image import Image

FINENESS, MOST_SCALE = 1e-5, 100.0  # of the search for the largest scale


def flexible_patches_of(images: Sequence[Image], how: Processing) -> tuple[Tensor, Tensor]:
    """Pictures as patches [I, S, R], short ones padded with zeros, and their rows and columns [I, 2]."""
    size, cut, shapes = how.patch_size, [], []
    for image in images:
        height, width = fitting_size(image.height, image.width, size, how.max_patches or 1)
        x = torch.from_numpy(numbers_of(image, replace(how, height=height, width=width)))
        rows, columns = x.shape[1] // size, x.shape[2] // size
        if x.shape[1:] != (rows * size, columns * size):
            found = f"a picture of {x.shape[1]} x {x.shape[2]} pixels, which do_resize=false leaves as it is,"
            raise UsageError(f"{found} cannot be cut into patches of {size}")
        x = x.reshape(len(x), rows, size, columns, size).permute(1, 3, 2, 4, 0)
        cut.append(x.reshape(rows * columns, -1))
        shapes.append([rows, columns])
    return torch.nn.utils.rnn.pad_sequence(cut, batch_first=True), torch.tensor(shapes)


def fitting_size(height: int, width: int, patch_size: int, max_patches: int) -> tuple[int, int]:
    """The largest sides, in whole patches and nearly in proportion, that have no more patches than that.

    The scale is searched for by halves, as the owner does it: its last digits decide whether a patch more fits.
    """

    def sides(scale: float) -> tuple[int, int]:
        found = (max(patch_size, math.ceil(side * scale / patch_size) * patch_size) for side in (height, width))
        return next(found), next(found)

    low, high = FINENESS / 10, MOST_SCALE
    while high - low >= FINENESS:
        scale = (low + high) / 2
        tall, wide = sides(scale)
        if (tall / patch_size) * (wide / patch_size) <= max_patches:
            low = scale
        else:
            high = scale
    return sides(low)
