"""Pictures by transformers' torchvision processors are the same patches of the same shapes, but for a byte or two.

zoo does bit for bit what those of Pillow do: tests/vision/test_processing.py. Of smooth pictures the two kernels differ
by their roundings, at most 2 of 255 (measured) after two passes; of noise, bicubically, by up to 23, as one clips what
overshoots between its passes in the other order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zoo.vision import Processing, flexible_patches_of, patches_of, pixels_of

Image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
pytest.importorskip("transformers", reason="the reference extra is not installed")
pytest.importorskip("torchvision", reason="the processors of transformers resize by torchvision")
pytestmark = pytest.mark.slow

SIDES = ((300, 200), (97, 411), (30, 31), (225, 224), (224, 224), (1000, 700), (17, 900), (60, 60), (640, 480))
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "CLIP": ("CLIP", {}),
    "DINOv2": ("Bit", {}),
    "SigLIP": ("Siglip", {}),
    "SigLIP 2": ("Siglip2", {}),
    "ViT": ("ViT", {}),
    "Gemma 3": ("Gemma3", {"size": {"height": 896, "width": 896}}),
    "Qwen2-VL": ("Qwen2VL", {}),
    "Qwen3-VL": ("Qwen2VL", {"patch_size": 16, "size": {"shortest_edge": 1 << 16, "longest_edge": 1 << 24}}),
}


def smooth(height: int, width: int) -> Any:
    rows, columns = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(rows / (5 + 9 * i) + columns / (17 - 3 * i)) for i in range(3)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


@pytest.mark.parametrize("name", KINDS)
def test_pictures_are_nearly_those_of_torchvision(name: str) -> None:
    import transformers

    kind, settings = KINDS[name]
    theirs = getattr(transformers, f"{kind}ImageProcessor")(**settings)
    how = Processing.of({"image_processor_type": f"{kind}ImageProcessor", **settings})
    assert how.std is not None
    for sides in SIDES:
        image = smooth(*sides)
        expected = theirs([image], return_tensors="pt")
        pixels = expected["pixel_values"]
        if kind == "Qwen2VL":
            found, grid = patches_of([image], how)
            assert torch.equal(grid, expected["image_grid_thw"])
        elif kind == "Siglip2":
            found, shapes = flexible_patches_of([image], how)
            assert torch.equal(shapes, expected["spatial_shapes"])
            pixels = pixels[:, : found.shape[1]]
        else:
            found = pixels_of([image], how)
        assert found.shape == pixels.shape
        assert (found - pixels).abs().max() * 255 * max(
            how.std
        ) < 2.2  # bytes, 6 % more where CLIP's colour deviates less
