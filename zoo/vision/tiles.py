"""Pictures of any shape as square tiles and a small whole, as Llama 4 reads them and transformers' processor cuts them.

A picture is resized by torch, in bytes, and not by Pillow as others are; it is scaled and normed in bfloat16. Ratios
are in float32 where that processor has them so, for their last digit may decide on a row of pixels.

Shapes: I tiles, C channels, H side of a tile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.vision.forms import TORCH_MODES
from zoo.vision.images import on_white
from zoo.vision.processing import Processing

if TYPE_CHECKING:
    from PIL.Image import Image


def tiles_of(images: Sequence[Image], how: Processing) -> tuple[Tensor, list[tuple[int, int]]]:
    """Pictures as tiles [I, C, H, H], float32, and the rows and columns that each was cut into.

    Behind the tiles of a picture, which are row by row, stands the whole, unless it is one tile.
    Raises UsageError for settings that make no tiles.
    """
    if how.max_tiles is None or how.height is None:
        raise UsageError("these settings for pictures cut none into tiles, which this model reads")
    cut, grids = [], []
    for image in images:
        x = torch.from_numpy(np.array(on_white(image))).permute(2, 0, 1)[None].contiguous()
        grids.append(canvas_of(image.height, image.width, how.height, how.max_tiles, fills=how.fills_canvas))
        cut.append(_tiles(x, grids[-1], how, how.height))
    return torch.cat(cut), grids


def canvas_of(height: int, width: int, side: int, max_tiles: int, *, fills: bool) -> tuple[int, int]:
    """Rows and columns of the tiles that a picture of so many pixels is laid on, with the least room left.

    Of those that it fits, the ones that enlarge it least, or most if it `fills` them; else those that shrink it least.
    """
    shapes = np.array([(rows, n) for rows in range(1, max_tiles + 1) for n in range(1, max_tiles // rows + 1)])
    scales = (shapes * side).astype(np.float32) / np.array([height, width], np.float32)
    scale = scales.min(1)
    larger = scale[scale >= 1]
    chosen = scale.max() if fills or not larger.size else larger.min()
    rows, columns = min(shapes[scale == chosen].tolist(), key=math.prod)
    return rows, columns


def size_on(canvas: tuple[int, int], height: int, width: int, side: int, *, fills: bool) -> tuple[int, int]:
    """The sides in pixels that a picture is resized to, in proportion: up to a tile's, unless it `fills` the canvas."""
    most, ratios = [], []
    for pixels, found in zip(canvas, (height, width), strict=True):
        wanted = pixels if fills else max(found, side)
        most.append(min(wanted, pixels))
        is_canvas = fills or wanted > pixels
        ratio: Any = np.float32(pixels) / np.float32(found) if is_canvas else wanted / found
        ratios.append(ratio)
    if ratios[1] < ratios[0]:
        most[0] = min(math.floor(height * ratios[1]), most[0])
    else:
        most[1] = min(math.floor(width * ratios[0]), most[1])
    return max(most[0], 1), max(most[1], 1)


def _tiles(x: Tensor, grid: tuple[int, int], how: Processing, side: int) -> Tensor:
    """One picture [1, C, height, width], as bytes, to tiles [I, C, H, H]."""
    rows, columns = grid
    canvas = rows * side, columns * side
    placed = _resized(x, size_on(canvas, x.shape[2], x.shape[3], side, fills=how.fills_canvas), how)
    placed = F.pad(placed, (0, canvas[1] - placed.shape[3], 0, canvas[0] - placed.shape[2]))
    tiles = placed[0].unflatten(2, (columns, side)).unflatten(1, (rows, side)).permute(1, 3, 0, 2, 4).flatten(0, 1)
    return _numbers(tiles if rows * columns == 1 else torch.cat((tiles, _resized(x, (side, side), how))), how)


def _resized(x: Tensor, size: tuple[int, int], how: Processing) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, size, mode=TORCH_MODES[how.resample], antialias=True)


def _numbers(x: Tensor, how: Processing) -> Tensor:
    """Bytes [I, C, H, H] as numbers in float32, which are whole bfloat16's where they are normed."""
    if how.scale is None:
        return x.float()
    if how.mean is None or how.std is None:
        return x * how.scale
    mean, std = (torch.tensor(part, dtype=torch.bfloat16)[:, None, None] for part in (how.mean, how.std))
    return (x.bfloat16() * how.scale).sub(mean).div(std).float()
