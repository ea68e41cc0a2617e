"""Pictures of odd sizes and kinds, and what transformers' Llama4ImageProcessor makes of them, kept in tiles.json.

That processor needs torchvision, which nothing else here does.
python -m tests.vision.tiled writes the file anew where torchvision, transformers and Pillow are installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

FILE = Path(__file__).with_name("tiles.json")
SMALL = {"size": {"height": 48, "width": 48}}
LEAST = 5  # pixels that are kept of each tile
# name -> height, width, kind of file, settings
CASES: dict[str, tuple[int, int, str, dict[str, Any]]] = {
    "as released": (500, 800, "RGB", {}),
    "one tile as released": (336, 336, "RGB", {}),
    "tall": (400, 31, "RGB", SMALL),
    "wide": (29, 411, "RGB", SMALL),
    "thin beyond all canvases": (3, 900, "RGB", SMALL),
    "a pixel": (1, 1, "RGB", SMALL),
    "tiny": (7, 5, "RGB", SMALL),
    "tiny, enlarged": (7, 5, "RGB", SMALL | {"resize_to_max_canvas": True}),
    "middling": (100, 131, "RGB", SMALL),
    "middling, enlarged": (100, 131, "RGB", SMALL | {"resize_to_max_canvas": True}),
    "huge": (620, 980, "RGB", SMALL),
    "an exact tile": (48, 48, "RGB", SMALL),
    "an exact canvas": (96, 144, "RGB", SMALL),
    "an exact canvas of another order": (144, 96, "RGB", SMALL | {"resize_to_max_canvas": True}),
    "a pixel more than a canvas": (97, 145, "RGB", SMALL),
    "a column more in float32 than in float64": (173, 692, "RGB", SMALL),
    "few tiles": (200, 300, "RGB", SMALL | {"max_patches": 3}),
    "one tile at most": (200, 300, "RGB", SMALL | {"max_patches": 1}),
    "bicubic": (130, 75, "RGB", SMALL | {"resample": 3}),
    "other numbers": (70, 90, "RGB", SMALL | {
        "image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.5, 0.7], "rescale_factor": 0.005,
    }),
    "not normed": (70, 90, "RGB", SMALL | {"do_normalize": False}),
    "grey": (60, 110, "L", SMALL),
    "grey with transparency": (60, 110, "LA", SMALL),
    "transparent": (110, 60, "RGBA", SMALL),
    "palette": (90, 50, "P", SMALL),
    "palette with a transparent colour": (90, 50, "PT", SMALL),
    "turned by its camera": (40, 120, "turned", SMALL),
}  # fmt: skip


def write_picture(path: Path, height: int, width: int, kind: str) -> Path:
    """A picture of noise over slopes, the same each time, in a file that loses nothing."""
    from PIL import Image

    draw = np.random.default_rng(height * 10_000 + width)
    rows, columns = np.mgrid[:height, :width]
    channels = {"L": 1, "LA": 2, "RGBA": 4, "P": 1, "PT": 1}.get(kind, 3)
    slopes = [(rows * (i + 2) + columns * (7 - i)) % 256 for i in range(channels)]
    drawn = (np.stack(slopes, -1) + draw.integers(0, 80, (height, width, channels))) % 256
    image = Image.fromarray(drawn.astype(np.uint8).squeeze(-1) if channels == 1 else drawn.astype(np.uint8))
    more: dict[str, Any] = {}
    if kind in ("P", "PT"):
        image = Image.fromarray((drawn[..., 0] % 5).astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 250, 20, 30, 40, 240, 60, 5, 90, 180, 200, 210, 220])
        more = {"transparency": 2} if kind == "PT" else {}
    if kind == "turned":
        more["exif"] = exif = Image.Exif()
        exif[0x0112] = 6  # shown turned by 90 degrees
    image.save(path, format="PNG", **more)
    return path


def told(tiles: torch.Tensor) -> list[list[float]]:
    """Of each tile [C, H, H] some numbers as they are, the mean, and a sum that is another in another order."""
    found = []
    for tile in tiles.double():
        flat = tile.flatten()
        wave = torch.cos(torch.arange(len(flat), dtype=torch.float64))
        some = flat[torch.linspace(0, len(flat) - 1, LEAST).long()]
        found.append([*some.tolist(), flat.mean().item(), (flat * wave).mean().item()])
    return found


def expected() -> dict[str, Any]:
    from PIL import Image, ImageOps
    from transformers import Llama4ImageProcessor

    found = {}
    with TemporaryDirectory() as folder:
        for name, (height, width, kind, settings) in CASES.items():
            path = write_picture(Path(folder) / "a.png", height, width, kind)
            image = ImageOps.exif_transpose(Image.open(path))
            made = Llama4ImageProcessor(**settings)(image, return_tensors="pt")
            grid = [int(side) for side in made["aspect_ratios"].flatten()]
            found[name] = {"grid": grid, "tiles": told(made["pixel_values"])}
    return found


if __name__ == "__main__":
    lines = (f" {json.dumps(name)}: {json.dumps(values)}" for name, values in expected().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
