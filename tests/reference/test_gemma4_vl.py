"""Gemma 4 with pictures against transformers, in float64: both sides differ by the order of sums (measured 3e-13)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo import presets
from zoo.registry import installed
from zoo.testing.subject import peaked

pytestmark = pytest.mark.slow

TINY: Any = installed()["gemma4_vl"].config_class.tiny()
# Without embeddings per layer theirs stops where keys are shared.
CHANGES: dict[str, dict[str, Any]] = {
    "clipped": {},
    "causal, squares of 3, other padding": {
        "sees_whole_images": False, "pad_token_id": 0, "tie_embeddings": False,
        "vision": replace(TINY.vision, pool_size=3, is_clipped=False, is_standardised=False, num_positions=12),
    },
    "plain layers": {"layer_embed_dim": None, "sharing_from": None, "num_experts": None, "has_equal_keys": False},
    # Where squares are single patches theirs keeps the padding and drops the patches.
    "one head, bounds alone": {"vision": replace(TINY.vision, patch_size=3, num_heads=1, is_standardised=False)},
}  # fmt: skip
SQUARES = ((1, 2), (3, 2), (2, 3))  # rows and columns of the pictures, in squares of patches: 2, 6 and 6 tokens


@dataclass
class Pair:
    """A model of zoo's, what transformers makes of its folder, and texts with pictures."""

    ours: Any
    theirs: Any
    folder: Path
    tokens: Tensor
    pixels: Tensor
    shapes: Tensor

    @property
    def seen(self) -> dict[str, Tensor]:
        return {"pixels": self.pixels, "shapes": self.shapes}

    def places(self) -> Tensor:
        """Column and row of each patch, as theirs takes them; padding is -1."""
        found = torch.full((*self.pixels.shape[:2], 2), -1)
        for image, (rows, columns) in enumerate(self.shapes.tolist()):
            for n in range(rows * columns):
                found[image, n] = torch.tensor([n % columns, n // columns])
        return found

    @torch.no_grad()
    def run(self, part: str = "", **given: Any) -> Any:
        from zoo.verification.exact import Float64

        with Float64():
            return (getattr(self.theirs, part) if part else self.theirs)(**given)

    def expected(self, tokens: Tensor, **more: Any) -> Tensor:
        kinds = (tokens == self.ours.config.image_token_id).long()
        seen = {"pixel_values": self.pixels, "image_position_ids": self.places(), "mm_token_type_ids": kinds}
        return self.run(input_ids=tokens, **seen, **more).logits


@pytest.fixture(scope="module", params=CHANGES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    from zoo.verification.in_transformers import load_in_transformers

    config = replace(TINY, **{"pad_token_id": 7, "max_seq_len": 128} | CHANGES[request.param])
    model: Any = peaked(zoo.build(config, device="cpu", dtype="float64"), 3).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bounds"):  # which some of the numbers exceed on either side
            parameter.data = torch.tensor([-0.5, 0.7, -0.3, 0.4], dtype=torch.float64)
        elif name.endswith(("shift", "scale")):
            parameter.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
    folder = tmp_path_factory.mktemp("gemma4") / "ours"
    zoo.save(model, folder)
    theirs, random = load_in_transformers(folder, torch.float64)
    assert not random
    soft, v = config.image_token_id, config.vision
    tokens = torch.tensor([[3, 5, *[soft] * 2, 7, *[soft] * 6, 9, 4, 11], [3, 2, 8, *[soft] * 6, *[5] * 5]])
    shapes = torch.tensor(SQUARES) * v.pool_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 6 * v.pool_size**2, v.patch_dim, generator=generator, dtype=torch.float64)
    return Pair(model, theirs, folder, tokens, pixels, shapes)


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max().item() < 1e-9


@torch.no_grad()
def test_states_of_padded_pictures_equal_the_reference(pair: Pair) -> None:
    found = pair.run("get_image_features", pixel_values=pair.pixels, image_position_ids=pair.places())
    close(pair.ours.visual(pair.pixels, pair.shapes), torch.cat(tuple(found.pooler_output)))


@torch.no_grad()
def test_logits_of_texts_and_pictures_equal_the_reference(pair: Pair) -> None:
    expected = pair.expected(pair.tokens)
    close(pair.ours(pair.tokens, **pair.seen), expected)
    others = {"pixels": pair.pixels.flip(0), "shapes": pair.shapes}
    assert (pair.ours(pair.tokens, **others) - expected).abs().max() > 1e-2
    text = pair.tokens.clamp(max=60)
    close(pair.ours(text), pair.run(input_ids=text).logits)


@torch.no_grad()
def test_cached_decoding_after_pictures_equals_the_reference(pair: Pair) -> None:
    expected, count = pair.expected(pair.tokens), pair.tokens.shape[1] - 3
    cache = pair.ours.new_cache(2, pair.tokens.shape[1])
    steps = [pair.ours(pair.tokens[:, :count], cache=cache, **pair.seen)]
    steps += [pair.ours(pair.tokens[:, t : t + 1], cache=cache) for t in range(count, pair.tokens.shape[1])]
    close(torch.cat(steps, 1), expected)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padded_rows_with_pictures_equal_the_reference(pair: Pair, side: str) -> None:
    """Padding is no place, whatever stands there; theirs is given another token of padding, for it looks at no mask."""
    padding = torch.full((2, 3), pair.ours.config.image_token_id)
    order = (padding, pair.tokens) if side == "left" else (pair.tokens, padding)
    tokens, mask = torch.cat(order, 1), torch.cat([torch.full(x.shape, x is pair.tokens) for x in order], 1)
    expected = pair.expected(
        tokens.masked_fill(~mask, 0), attention_mask=mask.long(), position_ids=(mask.long().cumsum(1) - 1).clamp(min=0)
    )
    cache = pair.ours.new_cache(2, tokens.shape[1])
    for found in (
        pair.ours(tokens, attention_mask=mask, **pair.seen),
        pair.ours(tokens, attention_mask=mask, cache=cache, **pair.seen),
    ):
        close(found[mask], expected[mask])


@torch.no_grad()
def test_pictures_in_passes_of_their_own_equal_the_whole(pair: Pair) -> None:
    """The first picture leaves the window before the second is read."""
    row, cache = pair.tokens[:1], pair.ours.new_cache(1, pair.tokens.shape[1])
    whole = pair.ours(row, pixels=pair.pixels[:2], shapes=pair.shapes[:2])
    parts = [(row[:, :5], slice(0, 1)), (row[:, 5:], slice(1, 2))]
    found = [pair.ours(t, pixels=pair.pixels[i], shapes=pair.shapes[i], cache=cache) for t, i in parts]
    close(torch.cat(found, 1), whole)


@torch.no_grad()
def test_a_marker_that_the_model_wrote_is_read_as_the_reference_does(pair: Pair) -> None:
    marker = torch.tensor([[pair.ours.config.image_token_id]])
    close(pair.ours(marker), pair.run(input_ids=marker).logits)


def test_files_of_both_sides_are_read_and_written(pair: Pair, tmp_path: Path) -> None:
    pair.theirs.save_pretrained(tmp_path / "theirs")
    again = zoo.load(tmp_path / "theirs", dtype="float64")
    zoo.save(again, tmp_path / "back")
    stored, back = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert stored.keys() == back.keys() == load_file(pair.folder / "model.safetensors").keys()
    assert all(torch.equal(stored[name], back[name]) for name in stored)
    assert zoo.inspect(tmp_path / "back").config == again.config == replace(pair.ours.config, dtype="float64")
    with torch.no_grad():
        close(again(pair.tokens, **pair.seen), pair.ours(pair.tokens, **pair.seen))


@torch.no_grad()
def test_the_reference_drops_patches_that_are_squares_by_themselves(pair: Pair) -> None:
    """And keeps padding in their place: what it calls padding where it pools is what it keeps."""
    vision = pair.theirs.model.vision_tower
    places = pair.places()
    real, few = (places >= 0).all(-1), torch.zeros(3, 6 * vision.config.pooling_kernel_size**2, 16).double()
    found, kept = vision.pooler(few + 1, places, ~real, few.shape[1])
    assert torch.equal(kept, ~real)
    assert not found[kept].any()


@pytest.mark.parametrize("name", ["gemma4-e2b-vl", "gemma4-e4b-vl", "gemma4-31b-vl", "gemma4-26b-a4b-vl"])
def test_presets_have_the_parameters_of_transformers(name: str) -> None:
    """Bounds, vectors and the scalar of a layer, which are buffers there, are counted."""
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    keys = installed()["gemma4_vl"].dialect("hf").to_config(presets.config(name))
    with torch.device("meta"):
        model = transformers.Gemma4ForConditionalGeneration(transformers.Gemma4Config(**keys))
    count = sum(x.numel() for n, x in model.state_dict().items() if n != "lm_head.weight")
    (record,) = (r for r in presets.list_models(name) if r.name == name)
    assert record.parameters == count
