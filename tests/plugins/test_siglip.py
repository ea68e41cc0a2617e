"""SigLIP: what is refused, pixels beyond the last patch, and texts in small letters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.text.tokens.small_letters import PlainWords
from zoo.weights import ForeignConfig

TINY: Any = installed()["siglip"].config_class.tiny()
CLASSES = {"text": None, "head": "image_classification", "num_labels": 2}


def built(config: Any) -> Any:
    return peaked(zoo.build(config, device="cpu", dtype="float64").eval())


@torch.no_grad()
def test_what_lies_beyond_the_last_patch_of_a_trained_size_is_not_read() -> None:
    model, pixels = built(replace(TINY, text=None)), torch.randn(1, 3, 14, 14, dtype=torch.float64)
    other = pixels.clone()
    other[..., 12:, :], other[..., 12:] = 7.0, 7.0
    assert torch.equal(model(pixels=pixels).image, model(pixels=other).image)
    with pytest.raises(UsageError, match="18 x 14 pixels cannot be cut into patches of 4"):
        model(pixels=torch.zeros(1, 3, 18, 14))


@torch.no_grad()
def test_a_text_is_read_in_both_directions_and_at_its_last_token() -> None:
    model, tokens = built(TINY), torch.tensor([[3, 4, 5, 1, 1]])
    out = model(tokens)
    state = model.text.projection(out.text_hidden[:, -1])
    assert torch.equal(out.text, nn.functional.normalize(state, dim=-1))
    assert not torch.allclose(out.text_hidden[:, 0], model(tokens[:, :4]).text_hidden[:, 0])


def test_towers_that_are_not_there_read_nothing() -> None:
    with pytest.raises(UsageError, match="no image tower"):
        built(replace(TINY, vision=None))(pixels=torch.zeros(1, 3, 12, 12))
    with pytest.raises(UsageError, match="no text tower"):
        built(replace(TINY, text=None))(torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(UsageError, match=r"model\.text\.max_seq_len=20"):
        built(replace(TINY, vision=None))(torch.zeros(1, 21, dtype=torch.long))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": None, "vision": None}, "both missing"),
        ({"text": replace(TINY.text, projection_size=31)}, "meet in one space"),
        ({"vision": replace(TINY.vision, has_pool=False)}, "no vectors of images"),
        ({**CLASSES, "text": TINY.text}, "reads images alone"),
        ({**CLASSES, "num_labels": None}, "needs model.num_labels"),
        ({**CLASSES, "labels": ["a"]}, "names 1 classes"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **change)


def test_files_of_another_class_or_with_a_key_nobody_reads_are_refused() -> None:
    hf = installed()["siglip"].dialect("hf")
    raw = hf.to_config(TINY)
    for wrong in ({"architectures": ["SiglipVisionModel"]}, {"architectures": ["Siglip2Model"]}):
        with pytest.raises(CheckpointError, match="is not supported"):
            hf.from_config(ForeignConfig(raw | wrong))
    odd = ForeignConfig(raw | {"vision_config": raw["vision_config"] | {"class_token": True}})
    hf.from_config(odd)
    with pytest.raises(CheckpointError, match="class_token"):
        odd.check()


def test_released_files_leave_out_what_is_that_of_the_base_model() -> None:
    released = {  # of google/siglip-base-patch16-224
        "architectures": ["SiglipModel"], "initializer_factor": 1.0, "model_type": "siglip",
        "text_config": {"model_type": "siglip_text_model"}, "torch_dtype": "float32",
        "transformers_version": "4.37.0.dev0", "vision_config": {"model_type": "siglip_vision_model"},
    }  # fmt: skip
    hf = ForeignConfig(released)
    config = installed()["siglip"].dialect("hf").from_config(hf)
    hf.check()
    expected = zoo.presets.config("siglip-base-patch16-224")
    assert (config.text, config.vision) == (expected.text, expected.vision)


@pytest.mark.parametrize("change", [{"vision": None}, {"text": None}, CLASSES | {"labels": ["a", "b"]}])
def test_a_tower_alone_survives_the_round_trip(change: dict[str, Any], tmp_path: Path) -> None:
    model = zoo.build(replace(TINY, **change), device="cpu")
    zoo.save(model, tmp_path / "out")
    back = zoo.load(tmp_path / "out")
    assert back.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), back.parameters(), strict=True))


@pytest.mark.parametrize(
    ("text", "plain", "places"),
    [
        ("A  Cat!", "a cat", [0, 1, 3, 4, 5, 7]),
        (" (It's) ", "its", [2, 3, 5, 8]),
        ("", "", [0]),
        ("ΟΔΟΣ \n ΣΣ", "οδος σς", [0, 1, 2, 3, 4, 7, 8, 9]),  # the last letter of a word has a form of its own
        ("İ.", "i̇", [0, 0, 2]),
    ],
)
def test_texts_become_small_letters_without_punctuation(text: str, plain: str, places: list[int]) -> None:
    assert PlainWords().written(text) == (plain, places)


def test_letters_stay_where_the_files_say_so() -> None:
    assert PlainWords(is_lower=False).written("A Cat!")[0] == "A Cat"
