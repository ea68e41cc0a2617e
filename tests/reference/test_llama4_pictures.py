"""Llama 4's pictures from files against transformers' own processor and class. Needs torchvision.

Ids and pixels are equal; logits in float64 within 1e-9, both sides differing by the order of sums.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import AddedToken

import zoo
from tests.text.tiny import byte_level, write
from tests.vision.tiled import CASES, write_picture
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.text import Tokenizer
from zoo.vision import Processing, read_image, tiles_of
from zoo.vision.tiles import canvas_of, size_on

pytest.importorskip("transformers", reason="the reference extra is not installed")
pytest.importorskip("torchvision", reason="the processor of transformers resizes by torchvision")
pytestmark = pytest.mark.slow

NAMES = "image_start image_end patch image tile_x_separator tile_y_separator".split()
TOKENS = [f"<|{name}|>" for name in NAMES]  # at ids 348 to 353


@pytest.mark.parametrize("name", CASES)
def test_tiles_equal_the_reference(name: str, tmp_path: Path) -> None:
    from transformers import Llama4ImageProcessor

    height, width, kind, settings = CASES[name]
    path = write_picture(tmp_path / "a.png", height, width, kind)
    image = read_image(path)
    tiles, grids = tiles_of([image], Processing.of({"image_processor_type": "Llama4ImageProcessor", **settings}))
    opened = [image] if kind in ("LA", "RGBA", "PT") else [image, str(path)]  # of a path it drops what is transparent
    for given in opened:
        expected = Llama4ImageProcessor(**settings)(given, return_tensors="pt")
        assert torch.equal(tiles, expected["pixel_values"].float())
        assert torch.tensor(grids).equal(torch.stack([*expected["aspect_ratios"]]))


@pytest.mark.parametrize("fills", [False, True])
@pytest.mark.parametrize(("side", "count"), [(336, 16), (48, 7), (224, 30), (70, 1)])
def test_canvases_and_sizes_equal_the_reference(side: int, count: int, fills: bool) -> None:
    """Of random sides, some of which are near a tile's or a canvas's."""
    from transformers.image_utils import SizeDict
    from transformers.models.llama4 import image_processing_llama4 as theirs

    possible = theirs.find_supported_resolutions(count, SizeDict(height=side, width=side))
    draw = np.random.default_rng(side)
    for _ in range(4000):
        free, near = draw.integers(1, 3000, 2), side * draw.integers(1, 5, 2) + draw.integers(-1, 2, 2)
        height, width = (int(side) for side in np.where(draw.random(2) < 0.5, free, np.maximum(near, 1)))
        canvas = theirs.get_best_fit((height, width), torch.tensor(possible), resize_to_max_canvas=fills)
        grid = canvas_of(height, width, side, count, fills=fills)
        assert (grid[0] * side, grid[1] * side) == tuple(canvas.tolist()), (height, width)
        most = canvas if fills else (min(max(height, side), canvas[0]), min(max(width, side), canvas[1]))
        expected = [max(int(x), 1) for x in theirs.get_max_res_without_distortion((height, width), tuple(most))]
        found = size_on((grid[0] * side, grid[1] * side), height, width, side, fills=fills)
        assert found == tuple(expected), (height, width)


@torch.no_grad()
def test_files_and_text_give_the_ids_the_pixels_and_the_logits_of_the_reference(tmp_path: Path) -> None:
    import transformers

    from zoo.verification.exact import Float64
    from zoo.verification.in_transformers import load_in_transformers

    tiny = installed()["llama4_vl"].config_class.tiny()
    ids = {"image_start_id": 348, "image_end_id": 349, "image_token_id": 350}
    config = replace(tiny, vocab_size=354, max_seq_len=512, **ids)
    model: Any = peaked(zoo.build(config, device="cpu", dtype="float64"), 3).eval()
    folder = tmp_path / "model"
    zoo.save(model, folder)
    source = byte_level()
    source.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in TOKENS])
    write(folder, source)
    side = {"height": 12, "width": 12}
    processor = transformers.Llama4Processor(
        transformers.Llama4ImageProcessor(size=side, max_patches=6),
        transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")),
        patch_size=3,
    )
    processor.save_pretrained(tmp_path / "processor")  # the file that says how pictures become pixels
    files = [
        write_picture(tmp_path / f"{i}.png", *sides, "RGB") for i, sides in enumerate(((22, 30), (9, 11), (40, 9)))
    ]
    prompt = "what<|image|> is<|image|><|image|> it?"
    tokenizer = Tokenizer.from_folder(folder)
    made = zoo.illustrate(model, prompt, files, tokenizer=tokenizer, folder=tmp_path / "processor")
    expected = processor(images=[read_image(file) for file in files], text=prompt, return_tensors="pt")
    assert made.tokens == expected["input_ids"][0].tolist()
    assert torch.equal(made.inputs["pixels"], expected["pixel_values"].float())
    theirs, _ = load_in_transformers(folder, torch.float64)
    with Float64():
        logits = theirs(expected["input_ids"], pixel_values=expected["pixel_values"].double()).logits
    found = model(torch.tensor([made.tokens]), **made.inputs)
    assert (found - logits).abs().max().item() < 1e-9
    moved = model(torch.tensor([made.tokens]), pixels=made.inputs["pixels"].flip(0))
    assert (moved - logits).abs().max().item() > 1e-3
