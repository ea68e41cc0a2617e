"""Gemma 3 with images: who sees whom, what does not go together, and which keys of a config.json are read."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo import presets
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.weights import ForeignConfig

PUBLISHED = {  # parameters; tests/reference/test_gemma3_vl.py counts those of transformers
    "gemma3-4b": 4_300_079_472,
    "gemma3-12b": 12_187_325_040,
    "gemma3-27b": 27_432_406_640,
}
RELEASED = {  # as sparse as the config.json of google/gemma-3-4b-it
    "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
    "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
    },
    "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
    "vision_config": {
        "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model",
        "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False,
    },
}  # fmt: skip


def read(**changes: Any) -> Any:
    """The config of the released file with keys changed; `text_config` and `vision_config` are added to."""
    raw = json.loads(json.dumps(RELEASED))
    for name, value in changes.items():
        raw[name] = {**raw[name], **value} if isinstance(value, dict) else value
    keys = ForeignConfig(raw)
    config = installed()["gemma3_vl"].dialect("hf").from_config(keys)
    keys.check(where="gemma3_vl")
    return config


@pytest.fixture(scope="module")
def model() -> Any:
    return peaked(zoo.build(installed()["gemma3_vl"].config_class.tiny(), device="cpu", dtype="float64")).eval()


def prompt(model: Any, *parts: int) -> Tensor:
    """A row of that many tokens of text and, where negative, as many images."""
    c, row = model.config, []
    for part in parts:
        text = [3 + (7 * len(row) + i) % 50 for i in range(part)]
        row += text if part > 0 else [c.image_token_id] * (-part * c.tokens_per_image)
    return torch.tensor([row])


def pixels(model: Any, count: int, seed: int = 0) -> Tensor:
    v, generator = model.config.vision, torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, v.image_size, v.image_size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_number_of_parameters(name: str) -> None:
    (record,) = (r for r in presets.list_models(name) if r.name == name)
    assert record.parameters == PUBLISHED[name]


def test_what_the_released_config_leaves_out_is_what_the_preset_says() -> None:
    preset = presets.config("gemma3-4b")
    told = {"hub": "", "gated": False, "license": "", "source": "", "eos_token_id": [1, 106]}
    assert read() == replace(preset, **told, bos_token_id=None, pad_token_id=None)


@torch.no_grad()
def test_tokens_of_an_image_see_its_later_tokens_and_those_of_no_later_image(model: Any) -> None:
    tokens, n = prompt(model, 3, -1, 2, -1, 2), model.config.tokens_per_image
    first, second = range(3, 3 + n), range(5 + n, 5 + 2 * n)
    x = model.encode(tokens.clamp(max=60), zoo.nn.Span(1, tokens.shape[1], tokens.device))
    moved: dict[int, list[int]] = {}
    for column in range(tokens.shape[1]):
        runs = []
        for delta in (0.0, 1e-3):
            span = zoo.nn.Span(1, tokens.shape[1], tokens.device)
            span.reach = span.positions.clone()
            for image in (first, second):
                span.reach[:, list(image)] = image[-1]
            y = x.clone()
            y[:, column] += delta
            runs.append(model.read(y, span))
        moved[column] = (runs[0] - runs[1]).abs().amax((0, 2)).gt(1e-12).nonzero()[:, 0].tolist()
    for column, seen_by in moved.items():
        image = next((image for image in (first, second) if column in image), None)
        assert min(seen_by) == (column if image is None else image[0])


@torch.inference_mode()
def test_the_model_finds_the_ends_of_its_images(model: Any) -> None:
    where = torch.tensor([[False, True, True, False, True, True, True, False]])
    found = sys.modules[type(model).__module__].ends_of_runs(where, torch.arange(10, 18)[None])
    assert found.tolist() == [[10, 12, 12, 13, 16, 16, 16, 17]]


@torch.inference_mode()
def test_swapped_images_change_the_text_between_them(model: Any) -> None:
    tokens, images = prompt(model, 3, -1, 2, -1, 2), pixels(model, 2)
    n = model.config.tokens_per_image
    one, other = model(tokens, pixels=images), model(tokens, pixels=images.flip(0))
    assert torch.equal(one[:, :3], other[:, :3])
    assert (one[:, 3 + n] - other[:, 3 + n]).abs().max() > 1e-3


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("cut", [1, 3, 7, 9, 13])
def test_chunks_between_images_equal_the_whole(model: Any, cut: int) -> None:
    tokens, images = prompt(model, 3, -1, 2, -1, 2), pixels(model, 2)
    count = int((tokens[:, :cut] == model.config.image_token_id).sum()) // model.config.tokens_per_image
    cache = model.new_cache(1, tokens.shape[1])
    parts = [(tokens[:, :cut], images[:count]), (tokens[:, cut:], images[count:])]
    found = [model(t, pixels=i if len(i) else None, cache=cache) for t, i in parts]
    torch.testing.assert_close(torch.cat(found, 1), model(tokens, pixels=images), atol=1e-12, rtol=0)


def test_an_image_cut_in_two_is_refused(model: Any) -> None:
    tokens = prompt(model, 3, -1, 2)
    with pytest.raises(UsageError, match="all tokens of an image in one pass"):
        model(tokens[:, :5], pixels=pixels(model, 1), cache=model.new_cache(1, 9))


@pytest.mark.parametrize("count", [0, 2])
def test_more_or_fewer_images_than_places_are_refused(model: Any, count: int) -> None:
    with pytest.raises(UsageError, match="places for images"):
        model(prompt(model, 3, -1, 2), pixels=pixels(model, count) if count else None)


def test_images_of_another_size_are_refused(model: Any) -> None:
    with pytest.raises(UsageError, match="not images of 12 x 12"):
        model(prompt(model, 3, -1, 2), pixels=pixels(model, 1)[..., :9])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"text_config": {"final_logit_softcapping": 30.0}}, "final_logit_softcapping"),
        ({"text_config": {"use_bidirectional_attention": True}}, "use_bidirectional_attention"),
        ({"text_config": {"model_type": "llama"}}, "model_type"),
        ({"vision_config": {"vision_use_head": True}}, "vision_use_head"),
        ({"vision_config": {"model_type": "clip_vision_model"}}, "model_type"),
        ({"vision_config": {"hidden_act": "tanh"}}, "hidden_act"),
        ({"vision_config": {"pool": 3}}, "pool"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"text_config": 3}, "text_config"),
    ],
    ids=str,
)
def test_keys_that_would_change_the_model_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        read(**changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokens_per_image": 5}, "not a square number"),
        ({"tokens_per_image": 9}, "tokens on a side"),
        ({"final_softcap": 30.0}, "final_softcap"),
        ({"generation": 2}, "generation"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(installed()["gemma3_vl"].config_class.tiny(), **changes)


def test_numbers_are_written_as_transformers_takes_them() -> None:
    for family in ("gemma", "gemma3_vl"):
        keys = installed()[family].dialect("hf").to_config(installed()[family].config_class.tiny())
        assert type(keys.get("text_config", keys)["query_pre_attn_scalar"]) is int
