"""Llama 4 with tiles against transformers, in float64: both sides differ by the order of sums (measured 2e-14)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo.errors import UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked

pytestmark = pytest.mark.slow

MARK = 57  # stands for a state of a tile, with a row in the embedding, for theirs looks it up
CHANGES: dict[str, dict[str, Any]] = {
    "squares of 2": {},
    "no squares, other colours": {"merge_size": 1, "num_channels": 2, "hidden_size": 32, "num_heads": 4},
    "one square": {"merge_size": 4, "image_size": 8, "patch_size": 2},
}


@dataclass
class Both:
    """A model of zoo's, what transformers makes of its folder, and texts with tiles."""

    ours: Any
    theirs: Any
    folder: Path
    tokens: Tensor
    pixels: Tensor

    @torch.no_grad()
    def expected(self, tokens: Tensor, **given: Tensor) -> Tensor:
        from zoo.verification.exact import Float64

        with Float64():
            return self.theirs(tokens, **given).logits


@pytest.fixture(scope="module", params=CHANGES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    from zoo.verification.in_transformers import load_in_transformers

    tiny = installed()["llama4_vl"].config_class.tiny()
    vision = replace(tiny.vision, **CHANGES[request.param])
    config = replace(tiny, vision=vision, image_token_id=MARK, max_seq_len=128)
    model: Any = peaked(zoo.build(config, device="cpu", dtype="float64"), 3).eval()
    folder = tmp_path_factory.mktemp("llama4") / "ours"
    zoo.save(model, folder)
    theirs, random = load_in_transformers(folder, torch.float64)
    assert not random
    tile, text = [MARK] * vision.num_states, [9] * vision.num_states
    tokens = torch.tensor([[3, 5, *tile, 7, *tile, 9, 4, 11], [3, *tile, 7, 8, *text, 9, 4, 11]])
    size = vision.image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(3, vision.num_channels, size, size, generator=generator, dtype=torch.float64)
    return Both(model, theirs, folder, tokens, pixels)


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max().item() < 1e-9


@torch.no_grad()
def test_logits_of_texts_and_tiles_equal_the_reference(both: Both) -> None:
    close(both.ours(both.tokens, pixels=both.pixels), both.expected(both.tokens, pixel_values=both.pixels))
    moved = both.pixels.flip(0)
    assert (
        both.ours(both.tokens, pixels=moved) - both.expected(both.tokens, pixel_values=both.pixels)
    ).abs().max() > 0.1


@torch.no_grad()
def test_cached_decoding_after_tiles_equals_the_reference(both: Both) -> None:
    expected = both.expected(both.tokens, pixel_values=both.pixels)
    cache, count = both.ours.new_cache(2, both.tokens.shape[1]), both.tokens.shape[1] - 3
    steps = [both.ours(both.tokens[:, :count], pixels=both.pixels, cache=cache)]
    steps += [both.ours(both.tokens[:, t : t + 1], cache=cache) for t in range(count, both.tokens.shape[1])]
    close(torch.cat(steps, 1), expected)


@torch.no_grad()
def test_a_padded_row_with_tiles_is_what_it_is_alone(both: Both) -> None:
    one = both.tokens[:1]
    padded = torch.cat((torch.full((1, 3), MARK), one), 1)  # padding is no place, whatever stands there
    mask = torch.ones_like(padded, dtype=torch.bool)
    mask[:, :3] = False
    close(both.ours(padded, pixels=both.pixels[:2], attention_mask=mask)[:, 3:], both.ours(one, pixels=both.pixels[:2]))


def test_files_of_both_sides_are_read_and_written(both: Both, tmp_path: Path) -> None:
    both.theirs.save_pretrained(tmp_path / "theirs")
    again = zoo.load(tmp_path / "theirs", dtype="float64")
    zoo.save(again, tmp_path / "back")
    stored, back = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert stored.keys() == back.keys() == load_file(both.folder / "model.safetensors").keys()
    assert all(torch.equal(stored[name], back[name]) for name in stored)
    with torch.no_grad():
        close(again(both.tokens, pixels=both.pixels), both.ours(both.tokens, pixels=both.pixels))


@torch.no_grad()
def test_texts_and_tiles_that_do_not_go_together_are_refused(both: Both) -> None:
    with pytest.raises(UsageError, match="places for tiles, 2 tiles of"):
        both.ours(both.tokens, pixels=both.pixels[:2])
    with pytest.raises(UsageError, match="places for tiles, 0 tiles of"):
        both.ours(both.tokens)
    with pytest.raises(UsageError, match="are not \\[tiles"):
        both.ours(both.tokens, pixels=both.pixels[..., 1:])
    moved = both.tokens.clone()
    moved[0, 2], moved[1, 0] = 9, MARK
    if both.ours.config.vision.num_states > 1:
        with pytest.raises(UsageError, match="places for tiles"):
            both.ours(moved, pixels=both.pixels)
