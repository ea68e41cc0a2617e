"""Gemma 4 with pictures: which family a file is, who sees whom, what is read of a config.json and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from zoo import presets
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.weights import ForeignConfig

TOWERS = {  # millions of parameters, learned positions aside, as the model cards say in tens
    "gemma4-e2b": 150, "gemma4-e4b": 150, "gemma4-26b-a4b": 550, "gemma4-31b": 550,
}  # fmt: skip
SOUND = 305_000_000  # what the whole of E2B, of 5.1 billion, and of E4B, of 8.0, has beside
TOWER: dict[str, Any] = {  # of the 26B-A4B and the 31B
    "_name_or_path": "", "attention_bias": False, "attention_dropout": 0.0, "default_output_length": 280,
    "dtype": "bfloat16", "global_head_dim": 72, "head_dim": 72, "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152, "initializer_range": 0.02, "intermediate_size": 4304, "max_position_embeddings": 131072,
    "model_type": "gemma4_vision", "num_attention_heads": 16, "num_hidden_layers": 27, "num_key_value_heads": 16,
    "patch_size": 16, "pooling_kernel_size": 3, "position_embedding_size": 10240, "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}, "standardize": True, "use_clipped_linears": False,
}  # fmt: skip


def whole(name: str = "gemma4-31b", **tower: Any) -> dict[str, Any]:
    """A released config: the text's of the preset, as it is written, beside what the files hold besides."""
    keys = installed()["gemma4_vl"].dialect("hf").to_config(presets.config(f"{name}-vl"))
    beside = {
        "boa_token_id": 256000, "eoa_token_id": 258883, "eoa_token_index": 258883, "vision_soft_tokens_per_image": 280,
    }  # fmt: skip
    return keys | beside | {"vision_config": TOWER | tower}


def read(raw: dict[str, Any]) -> Any:
    hf = ForeignConfig(raw)
    config = installed()["gemma4_vl"].dialect("hf").from_config(hf)
    hf.check()
    return config


@pytest.fixture(scope="module")
def model() -> Any:
    return peaked(zoo.build(tiny(), device="cpu", dtype="float64")).eval()


def tiny(**fields: Any) -> Any:
    return replace(installed()["gemma4_vl"].config_class.tiny(), **fields)


def seen(*shapes: tuple[int, int], padding: int = 0) -> dict[str, Tensor]:
    """Pictures of so many rows and columns of patches."""
    most = max((rows * columns for rows, columns in shapes), default=0) + padding
    pixels = torch.rand(len(shapes), most, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return {"pixels": pixels, "shapes": torch.tensor(shapes)}


def prompt(*parts: int) -> Tensor:
    """A row of that many tokens of text or, where negative, of a picture."""
    row: list[int] = []
    for part in parts:
        row += [61] * -part if part < 0 else [3 + (7 * len(row) + i) % 50 for i in range(part)]
    return torch.tensor([row])


@pytest.mark.parametrize("name", TOWERS)
def test_presets_are_the_texts_with_a_tower_of_the_published_size(name: str) -> None:
    text, both = (next(r for r in presets.list_models(n) if r.name == n) for n in (name, f"{name}-vl"))
    assert text.parameters is not None
    assert both.parameters is not None
    config: Any = presets.config(f"{name}-vl")
    v = config.vision
    beside = 2 * v.num_positions * v.hidden_size + v.hidden_size * config.hidden_size
    assert round((both.parameters - text.parameters - beside) / 1e7) * 10 == TOWERS[name]
    if name[7] == "e":
        assert round((both.parameters + SOUND) / 1e9, 1) == {"2": 5.1, "4": 7.9}[name[8]]


def test_the_released_config_is_the_preset() -> None:
    known, found = presets.config("gemma4-31b-vl").to_dict(), read(whole()).to_dict()
    assert {n: v for n, v in found.items() if n not in BOOKKEEPING} == {
        n: v for n, v in known.items() if n not in BOOKKEEPING
    }


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vision_config": TOWER | {"num_key_value_heads": 4}}, "num_key_value_heads: 4, but the other keys need 16"),
        ({"vision_config": TOWER | {"head_dim": 64}}, "head_dim: 64, but the other keys need 72"),
        ({"vision_config": TOWER | {"hidden_activation": "silu"}}, "hidden_activation"),
        ({"vision_config": TOWER | {"attention_bias": True}}, "attention_bias"),
        ({"vision_config": TOWER | {"rope_parameters": {"rope_type": "yarn"}}}, "rope_parameters: .*yarn"),
        ({"vision_config": TOWER | {"model_type": "siglip_vision_model"}}, "model_type"),
        ({"vision_config": TOWER | {"more": 3}}, "more"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings: text_config says otherwise"),
        ({"pad_token_id": 5}, "pad_token_id: 5, but text_config says 0"),
    ],
)
def test_another_model_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(whole() | keys)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_heads": 3}, r"model\.vision\.hidden_size"),
        ({"num_heads": 8}, "pairs for column and row"),
        ({"theta": 1.0}, r"model\.vision\.theta=1\.0"),
        ({"pool_size": 0}, r"model\.vision\.pool_size=0 is below 1"),
        ({"num_positions": 0}, r"model\.vision\.num_positions=0 is below 1"),
    ],
)
def test_impossible_towers_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(vision=replace(tiny().vision, **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pad_token_id": 61}, r"model\.pad_token_id=61, .*, is not in a vocabulary of 61"),
        ({"pad_token_id": -1}, "is not in a vocabulary"),
        ({"video_token_id": 61}, r"model\.image_token_id=61, model\.video_token_id=61, .* are not three tokens"),
        ({"audio_token_id": 64}, "are not three tokens"),
    ],
)
def test_tokens_that_cannot_stand_for_what_they_say_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(**fields)


def test_what_a_text_turns_by_is_told_where_its_file_says_nothing() -> None:
    raw = whole()
    del raw["text_config"]["rope_parameters"]
    hf = ForeignConfig(raw)
    config = installed()["gemma4_vl"].dialect("hf").from_config(hf)
    assert hf.groups[0].assumed["rope_parameters"]["full_attention"] == {"rope_theta": config.rope.theta}


def test_a_tower_s_own_scales_are_not_taken_for_those_of_packed_weights(tmp_path: Path) -> None:
    zoo.save(zoo.build(tiny(), device="cpu"), tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    raw = json.loads(file.read_text())
    raw["vision_config"]["standardize"] = False
    file.write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="std_scale") as refused:
        zoo.load(tmp_path / "m")
    assert "packed" not in str(refused.value)
    raw["vision_config"] |= {"standardize": True, "rms_norm_eps": 1.5}
    file.write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match=r"json: vision_config\.rms_norm_eps: model\.vision\.norm_eps=1\.5"):
        zoo.load(tmp_path / "m")


@torch.inference_mode()
def test_the_text_is_not_offered_for_a_file_whose_tower_is_wrong(tmp_path: Path) -> None:
    """It fits, since it leaves the tower out: the picture would not be seen."""
    folder = zoo.save(zoo.build(tiny(), device="cpu"), tmp_path / "wrong", format="hf")
    tensors = load_file(folder / "model.safetensors")
    name = "model.vision_tower.patch_embedder.input_proj.weight"
    save_file(tensors | {name: tensors[name][:, :-1].contiguous()}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="input_proj") as caught:
        zoo.load(folder)
    assert "gemma4." not in f"{caught.value} {caught.value.hint}"
    assert "family=" not in f"{caught.value} {caught.value.hint}"
    assert zoo.load(folder, family="gemma4").config.family == "gemma4"  # as the reader may decide


def test_documents_in_a_row_see_their_own_pictures_as_alone(model: Any) -> None:
    """The second's picture ends at an earlier position than the first's; then they touch."""
    shown = seen((2, 4), (2, 6), padding=4)
    for one, other in ((prompt(3, -2, 2), prompt(1, -3, 1)), (prompt(3, -2), prompt(-3, 2))):
        numbers = torch.tensor([[1] * one.shape[1] + [2] * other.shape[1]])
        found = model(torch.cat((one, other), 1), attention_mask=numbers, **shown)
        alone = [
            model(row, pixels=shown["pixels"][i : i + 1], shapes=shown["shapes"][i : i + 1])
            for i, row in enumerate((one, other))
        ]
        assert (found - torch.cat(alone, 1)).abs().max() < 1e-12  # the order of sums


@torch.inference_mode()
def test_no_picture_is_none_and_counts_are_integers(model: Any) -> None:
    row, none = prompt(4), {"pixels": torch.zeros(0, 8, 12), "shapes": torch.zeros(0, 2, dtype=torch.long)}
    assert torch.equal(model(row, **none), model(row))
    shown = seen((2, 4))
    with pytest.raises(UsageError, match=r"shapes of torch\.float32 are not integers"):
        model(prompt(2, -2), pixels=shown["pixels"], shapes=shown["shapes"].float())


def test_a_file_with_a_tower_is_this_family_and_one_without_is_the_text() -> None:
    for raw, name in ((whole(), "gemma4_vl"), (whole() | {"vision_config": None}, "gemma4")):
        assert [family.name for family, _ in installed().detect(raw, "hf")] == [name]


@pytest.mark.filterwarnings("ignore")
@torch.inference_mode()
def test_a_file_with_all_towers_is_read_with_pictures_or_as_text_and_says_what_it_leaves(tmp_path: Path) -> None:
    model: Any = zoo.build(tiny(), device="cpu").eval()
    folder, tokens = zoo.save(model, tmp_path / "whole"), prompt(9)
    stored = load_file(folder / "model.safetensors")
    sound = {f"model.{name}": torch.ones(2) for name in ("audio_tower.x", "embed_audio.x")}
    save_file(stored | sound, folder / "model.safetensors", {"format": "pt"})
    raw = json.loads((folder / "config.json").read_text()) | {"audio_config": {"model_type": "gemma4_audio"}}
    (folder / "config.json").write_text(json.dumps(raw))
    ledger = zoo.inspect(folder)
    assert ledger.family.name == "gemma4_vl"
    assert len(ledger.account.ignored) == 2
    assert any("the tower for sound is not read" in note for note in ledger.notes)
    with pytest.raises(UsageError, match="gemma4_vl has no 'gguf' format") as refused:
        zoo.convert(folder, tmp_path / "a.gguf", format="gguf")
    assert refused.value.hint == "family=gemma4 reads these files too, and has it"
    zoo.convert(folder, tmp_path / "a.gguf", format="gguf", family="gemma4")
    text = zoo.load(folder, family="gemma4")
    seeing = zoo.load(folder)
    assert text.config.family == "gemma4"
    expected = model(tokens)
    for read_as in (text, seeing):
        gap = (read_as(tokens) - expected).abs().max().item()
        assert gap < 1e-6  # float32: tensors in a file lie elsewhere, and are summed in another order
    as_text = zoo.inspect(folder, family="gemma4")
    assert any("although config.json is gemma4_vl's" in note for note in as_text.notes)
    assert len(as_text.account.ignored) == len(stored) + 2 - len(
        [name for name in stored if "language_model" in name or name == "lm_head.weight"]
    )


def test_tokens_of_a_picture_see_its_later_ones_in_local_layers_within_the_window(model: Any) -> None:
    """The picture has 6 tokens, and the window 5; layer 0 is local, and layer 1 global."""
    span = sys.modules[type(model).__module__].SightedSpan(1, 10, torch.device("cpu"))
    span.reach = span.positions.clone()
    span.reach[:, 2:8] = 7
    local, globe = (layer.attn.mask for layer in model.layers[:2])
    expected = torch.ones(10, 10).tril().bool()
    expected[2:8, 2:8] = True
    expected &= torch.arange(10)[None] > torch.arange(10)[:, None] - 5
    assert torch.equal(span.allowed(local)[0], expected)
    assert not span.is_banded(local)
    assert span.is_causal(globe)


@torch.inference_mode()
def test_what_is_behind_a_picture_s_patches_changes_nothing(model: Any) -> None:
    tokens, few = prompt(2, -2, 2), seen((2, 4))
    more = {"pixels": torch.cat((few["pixels"], torch.full((1, 5, 12), 9.0)), 1), "shapes": few["shapes"]}
    torch.testing.assert_close(model(tokens, **more), model(tokens, **few), atol=1e-12, rtol=0)
    turned = {"pixels": few["pixels"], "shapes": few["shapes"].flip(1)}
    assert (model(tokens, **turned) - model(tokens, **few)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("tokens", "given", "message"),
    [
        (prompt(2, -2, 2), {}, r"places for images, 0 images of \[\] tokens are given"),
        (prompt(2, -3, 2), seen((2, 4)), r"places for images, 1 images of \[2\] tokens are given"),
        (prompt(2, -2, 2), {"pixels": seen((2, 4))["pixels"]}, "pixels and shapes go together"),
        (prompt(2, -1, 2), seen((2, 3)), "2 rows of 3 patches are no whole squares of 2 x 2"),
        (prompt(2, -2, 2), seen((2, 4)) | {"shapes": torch.tensor([2, 4])}, r"shapes \[2\] are not \[images, 2\]"),
        (prompt(2, -2, 2), seen((2, 4)) | {"shapes": torch.tensor([[4, 2]] * 2)}, "places for images, 2 images"),
        (prompt(2, -4, 2), seen((2, 4)) | {"shapes": torch.tensor([[4, 4]])}, "4 rows of 4 patches are not within"),
        (prompt(2, -5, 2), seen((2, 10)), "2 rows of 10 patches are not within the 20 patches given, or 9 a side"),
        (prompt(2, -2, 2), seen((2, 4)) | {"pixels": torch.zeros(1, 8, 11)}, r"are not \[images, patches, 12\]"),
        (prompt(3).fill_(64), {}, r"places for videos \(token 64\), which this family does not read"),
        (prompt(3).fill_(65), {}, r"places for sound \(token 65\)"),
    ],
)
def test_texts_and_pictures_that_do_not_go_together_are_refused(
    model: Any, tokens: Tensor, given: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        model(tokens, **given)


def test_a_picture_cut_in_two_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match="all tokens of an image in one pass"):
        model(prompt(3, -2, 2)[:, :4], cache=model.new_cache(1, 9), **seen((2, 4)))


def test_what_stands_for_pictures_and_the_like_is_not_guessed(model: Any) -> None:
    assert model.markers == {61, 64, 65}
