"""Pictures of any shape as patches, as many as fit: what SigLIP 2's NaFlex and Gemma 4 read, as transformers makes it.

Shapes: I images, S patches, R numbers of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.vision.processing import Processing, numbers_of, uncut

if TYPE_CHECKING:
    from PIL.Image import Image

Sized = Callable[[int, int], tuple[int, int]]  # height and width of a picture -> those it is resized to
FINENESS, MOST_SCALE = 1e-5, 100.0  # of the search for the largest scale


def flexible_patches_of(images: Sequence[Image], how: Processing) -> tuple[Tensor, Tensor]:
    """Pictures as patches [I, S, R], short ones padded with zeros, and their rows and columns [I, 2]."""
    size, most = how.patch_size, how.max_patches or 1
    return _cut(images, how, size, lambda height, width: fitting_size(height, width, size, most))


def pooled_patches_of(images: Sequence[Image], how: Processing) -> tuple[Tensor, Tensor]:
    """The same in whole squares of patches, each of which a tower makes one state of."""
    square = how.patch_size * how.merge_size
    most = (how.max_patches or 1) // how.merge_size**2
    return _cut(images, how, square, lambda height, width: squares_within(height, width, square, most))


def _cut(images: Sequence[Image], how: Processing, unit: int, sized: Sized) -> tuple[Tensor, Tensor]:
    """Pictures of the sides that `sized` gives, multiples of `unit`, as patches."""
    size, cut, shapes = how.patch_size, [], []
    for image in images:
        height, width = sized(image.height, image.width) if how.is_resized else (image.height, image.width)
        if height % unit or width % unit:
            raise UsageError(f"{uncut(height, width)} cannot be cut into patches of {unit}")
        x = torch.from_numpy(numbers_of(image, replace(how, height=height, width=width)))
        rows, columns = height // size, width // size
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


def squares_within(height: int, width: int, square: int, most: int) -> tuple[int, int]:
    """Sides in whole squares, nearly in proportion and of at most so many squares; a thin picture is one square thin.

    Raises UsageError where a picture would have none on either side.
    """
    scale = math.sqrt(most * square**2 / (height * width))
    rows, columns = (math.floor(scale * side / square) for side in (height, width))
    if not rows and not columns:
        raise UsageError(f"a picture of {height} x {width} pixels is no square of {square} at {most} of them")
    if not rows:
        rows, columns = 1, min(width // height, most)
    elif not columns:
        rows, columns = min(height // width, most), 1
    return rows * square, columns * square
