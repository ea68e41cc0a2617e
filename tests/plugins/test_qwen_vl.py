"""Qwen-VL, Qwen2-VL, Qwen2.5-VL and Qwen3-VL: what images do to positions, caches, batches; what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.nn import Span
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.weights import ForeignConfig

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
IMAGE, VIDEO, START, END = 61, 62, 63, 64


def tiny(family: str) -> Any:
    return installed()[family].config_class.tiny()


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return peaked(zoo.build(tiny(request.param), device="cpu", dtype="float64").eval())


def patches(grid: list[list[int]], seed: int = 0) -> dict[str, Tensor]:
    count = sum(t * h * w for t, h, w in grid)
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 96, generator=generator, dtype=torch.float64)
    return {"pixels": pixels, "grid": torch.tensor(grid)}


TEXT = [[3, 4, 5, *[IMAGE] * 6, 6, 7, 8], [9, 10, *[IMAGE] * 4, 11, *[IMAGE] * 2, 12]]
GRIDS = [[[1, 4, 6]], [[1, 4, 4], [1, 2, 4]]]


@pytest.mark.slow
@torch.no_grad()
def test_rows_of_a_batch_give_what_each_gives_alone(model: nn.Module) -> None:
    tokens = torch.tensor([TEXT[0], [1, 1, *TEXT[1]]])
    mask = tokens != 1
    both = patches(GRIDS[0] + GRIDS[1])
    found = model(tokens, attention_mask=mask, **both)
    first = {"pixels": both["pixels"][:24], "grid": both["grid"][:1]}
    second = {"pixels": both["pixels"][24:], "grid": both["grid"][1:]}
    assert torch.allclose(found[0], model(tokens[:1], **first)[0], atol=1e-9)
    assert torch.allclose(found[1, 2:], model(tokens[1:, 2:], **second)[0], atol=1e-9)


@torch.no_grad()
def test_a_cache_goes_on_after_images_and_takes_images_later(model: nn.Module) -> None:
    tokens, images = torch.tensor(TEXT[1:]), patches(GRIDS[1])
    whole, cache = model(tokens, **images), model.new_cache(1, 20)
    first, second = patches(GRIDS[1][:1]), {"pixels": images["pixels"][16:], "grid": images["grid"][1:]}
    first["pixels"] = images["pixels"][:16]
    parts = [model(tokens[:, :2], cache=cache), model(tokens[:, 2:7], cache=cache, **first)]
    parts += [model(tokens[:, 7:9], cache=cache, **second), model(tokens[:, 9:], cache=cache)]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-9)
    with pytest.raises(UsageError, match="cannot be rewound to 3"):
        cache.rewind(3)


@torch.no_grad()
def test_reordered_rows_keep_their_positions(model: nn.Module) -> None:
    tokens = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 9, 10], TEXT[0][:9]])
    cache, index, more = model.new_cache(2, 12), torch.tensor([1, 1]), torch.tensor([[11], [12]])
    model(tokens, cache=cache, **patches(GRIDS[0]))
    cache.reorder(index)
    whole = torch.cat((tokens[index], more), 1)
    images = {k: torch.cat((v, v)) for k, v in patches(GRIDS[0]).items()}
    assert torch.allclose(model(more, cache=cache), model(whole, **images)[:, -1:], atol=1e-9)


def test_gradients_reach_the_tower(model: nn.Module) -> None:
    model(torch.tensor(TEXT[:1]), **patches(GRIDS[0])).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(("family", "after"), [("qwen2_vl", 9), ("qwen2_5_vl", 3 + 5 * 4 + 1)])
def test_text_after_a_video_goes_on_after_its_largest_position(family: str, after: int) -> None:
    """Six times four by four patches after three tokens; transformers 5.23 goes on at 5, within the video."""
    config = tiny(family)
    if family == "qwen2_5_vl":
        config = replace(config, vision=replace(config.vision, tokens_per_second=4))
    model = zoo.build(config)
    tokens = torch.tensor([[3, 4, 5, *[VIDEO] * 24, 6, 7, 8]])
    found, offsets = model.places(tokens, Span(1, 30, tokens.device), video_grid=torch.tensor([[6, 4, 4]]))
    assert found[:, 0, -3:].tolist() == [[after, after + 1, after + 2]] * 3
    assert offsets.tolist() == [after + 3 - 30]


def test_time_is_counted_in_seconds() -> None:
    """Two steps a second, four seconds from patch to patch (half a frame a second): 0, 8; images stand still."""
    model, tokens = zoo.build(tiny("qwen2_5_vl")), torch.tensor([[*[VIDEO] * 2, *[IMAGE] * 2]])
    grids = {"video_grid": torch.tensor([[2, 2, 2]]), "grid": torch.tensor([[2, 2, 2]]), "seconds_per_grid": [4.0]}
    found, _ = model.places(tokens, Span(1, 4, tokens.device), **grids)
    assert found[0, 0].tolist() == [0, 8, 9, 10]


@torch.no_grad()
def test_windows_see_no_further_than_their_side() -> None:
    """With windows only, a patch changes the tokens of its own window, and with a full layer all of them."""
    config = tiny("qwen2_5_vl")
    for full, expected in (([], 4), ([1], 9)):
        vision = replace(config.vision, full_layers=full)
        model = peaked(zoo.build(replace(config, vision=vision), device="cpu", dtype="float64"))
        images = patches([[1, 6, 6]])
        before = model.visual(**{"patches": images["pixels"], "grid": images["grid"]})
        images["pixels"][0] += 1
        after = model.visual(**{"patches": images["pixels"], "grid": images["grid"]})
        assert int(((after - before).abs().amax(1) > 1e-9).sum()) == expected


@pytest.mark.parametrize(
    ("text", "grid", "message"),
    [
        ([3, *[IMAGE] * 6], None, "placeholders for images or videos, but none are given"),
        ([3, *[IMAGE] * 5], [[1, 4, 6]], "6 tokens 61 in a row"),
        ([3, *[IMAGE] * 12], [[1, 4, 6]], "no more images"),
        ([3, *[IMAGE] * 6], [[1, 4, 6], [1, 2, 2]], "more images or videos than places"),
        ([3, *[IMAGE] * 4], [[1, 3, 8]], "cannot be cut into squares of 2"),
    ],
)
def test_texts_and_images_that_do_not_go_together_are_refused(
    model: nn.Module, text: list[int], grid: list[list[int]] | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        model(torch.tensor([text]), **({} if grid is None else patches(grid)))


def test_pixels_without_grid_and_of_another_shape_are_refused(model: nn.Module) -> None:
    images = patches(GRIDS[0])
    with pytest.raises(UsageError, match="do not fill grids"):
        model(torch.tensor(TEXT[:1]), pixels=images["pixels"][:-1], grid=images["grid"])
    for grid in ([[1, 0, 6]], [[0, 4, 6]], [[1, 3, 8]], [[1, 8, 3]]):
        with pytest.raises(UsageError, match="cannot be cut into squares of 2"):
            model(torch.tensor(TEXT[:1]), pixels=images["pixels"], grid=torch.tensor(grid))
    with pytest.raises(UsageError, match="go together"):
        model(torch.tensor([[3, 4]]), pixels=images["pixels"])


def test_a_draft_that_would_read_the_pictures_too_is_refused_by_that_reason() -> None:
    model = peaked(zoo.build(replace(tiny("qwen2_vl"), vocab_size=65), device="cpu"))
    images, prompt = patches([[1, 4, 6]]), [3, *[IMAGE] * 6, 4]
    zoo.generate(model, prompt, inputs=images, draft="ngram", max_new_tokens=2)
    with pytest.raises(UsageError, match="the draft reads grid, pixels as well, and is given the text alone"):
        zoo.generate(model, prompt, inputs=images, draft=model, max_new_tokens=2)


def test_grids_and_positions_of_another_form_are_refused(model: nn.Module) -> None:
    """Four rows are what transformers has: positions in the text before the three, which are other numbers."""
    images, text = patches([[1, 4, 6]]), torch.tensor([[3, *[IMAGE] * 6]])
    grid = images["grid"]
    for wrong, told in ((grid[0], r"\[3\] of int64"), (grid.float(), "of float32"), (grid[:, :2], r"\[1, 2\] of")):
        with pytest.raises(UsageError, match=f"a grid .*{told}.* is not integers"):
            model(text, pixels=images["pixels"], grid=wrong)
    with pytest.raises(UsageError, match="a grid of list is not integers"):
        model(text, pixels=images["pixels"], grid=grid.tolist())
    places = torch.arange(7).expand(4, 1, 7)
    model(text, **images, positions=places[:3])
    for wrong in (places, places[0], places[:3].double(), places[:3, :, :5]):
        with pytest.raises(UsageError, match=r"are not integers \[3, 1, 7\]"):
            model(text, **images, positions=wrong)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("change", "message"),
    [({"rope_sections": [1, 1, 2]}, "do not add up"), ({"image_token_id": VIDEO}, "are the same")],
)
def test_configs_that_contradict_themselves_are_refused(family: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(tiny(family), **change)


def read(family: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    dialect = installed()[family].dialect("hf")
    keys = ForeignConfig(change(json.loads(json.dumps(dialect.to_config(tiny(family))))))
    config = dialect.from_config(keys)
    keys.check(where=family)
    return config


def as_of_2024(raw: dict[str, Any]) -> dict[str, Any]:
    """The text's keys flat, with the rotary settings of then."""
    text = raw.pop("text_config")
    rope = text.pop("rope_parameters")
    del text["model_type"]
    scaling = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    return raw | text | {"rope_theta": rope["rope_theta"], "rope_scaling": scaling, "vision_token_id": 7}


def as_of_2025(raw: dict[str, Any]) -> dict[str, Any]:
    """Both at once, with ids of images in the group that mean nothing."""
    flat = as_of_2024(json.loads(json.dumps(raw)))
    scaling = flat["rope_scaling"] | {"type": "default", "rope_type": "default"}
    text = {k: v for k, v in raw["text_config"].items() if k != "rope_parameters"}
    text |= {
        "rope_theta": flat["rope_theta"],
        "rope_scaling": scaling,
        "image_token_id": None,
        "torch_dtype": "float16",
    }
    return flat | {"rope_scaling": scaling, "text_config": text}


@pytest.mark.parametrize("family", FAMILIES[:2])  # the third has had its group from the first
@pytest.mark.parametrize("style", [as_of_2024, as_of_2025])
def test_configs_of_every_year_say_the_same(family: str, style: Callable[..., Any]) -> None:
    assert read(family, style) == tiny(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_that_nobody_reads_are_refused_in_groups_too(family: str) -> None:
    def strange(raw: dict[str, Any]) -> dict[str, Any]:
        raw["vision_config"]["deepstack"] = [1]
        return raw

    with pytest.raises(CheckpointError, match=r"vision_config.*deepstack"):
        read(family, strange)

    def double_tongued(raw: dict[str, Any]) -> dict[str, Any]:
        return raw | {"rms_norm_eps": 0.5}

    with pytest.raises(CheckpointError, match=r"rms_norm_eps: 0\.5, but"):
        read(family, double_tongued)


# The first generation, against numbers of its own released code.
