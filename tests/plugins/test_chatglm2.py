"""ChatGLM2 and ChatGLM3 against the numbers of the code released with them, and what `rope_ratio` may mean.

The numbers were made in float64 and stored as float32, so that 1e-6 of logits whose std is about 1 is what they bear.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo.anatomy.config import RopeConfig
from zoo.anatomy.size import Size
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.models.construction import materialise, on_meta
from zoo.nn import hidden_states
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig

torch.set_num_threads(1)

PUBLISHED = {"chatglm2-6b": 6_243_584_000, "chatglm3-6b": 6_243_584_000, "glm-4-9b-chat": 9_399_951_360}
GLM4 = {"padded_vocab_size": 151_552, "vocab_size": 151_552}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "golden" / "chatglm2-6b"


@pytest.fixture(scope="module")
def inputs(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "inputs.safetensors")


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "expected.safetensors")


@pytest.fixture(scope="module")
def model(folder: Path):
    return zoo.load(folder, dtype="float64")


def gap(found: Tensor, stored: Tensor) -> float:
    assert found.shape == stored.shape
    return (found - stored.double()).abs().max().item()


@torch.inference_mode()
def test_logits_and_hidden_states_equal_the_released_codes(model, inputs, expected) -> None:
    tokens = inputs["plain.input_ids"]
    assert gap(model(tokens), expected["plain.logits"]) < 1e-6
    *states, last = hidden_states(model, tokens)
    assert gap(torch.stack(states), expected["plain.hidden_states"]) < 1e-6
    assert gap(last, expected["plain.last_hidden_state"]) < 1e-6


@torch.inference_mode()
def test_keys_and_values_equal_the_released_codes(model, inputs, expected) -> None:
    cache = model.new_cache(2, 21)
    model(inputs["plain.input_ids"], cache=cache)
    assert gap(cache.layers[1].k, expected["plain.key.layer1"]) < 1e-6
    assert gap(cache.layers[1].v, expected["plain.value.layer1"]) < 1e-6


@torch.inference_mode()
def test_given_positions_equal_the_released_codes(model, inputs, expected) -> None:
    found = model(inputs["positions.input_ids"], positions=inputs["positions.position_ids"])
    assert gap(found, expected["positions.logits"]) < 1e-6


@torch.inference_mode()
def test_left_padded_rows_and_their_steps_equal_the_released_codes(model, inputs, expected) -> None:
    tokens, mask = inputs["batch.input_ids"], inputs["batch.attention_mask"].bool()
    text = expected["batch.generated_ids"]
    cache = model.new_cache(3, 17)
    first = model(tokens, attention_mask=mask, cache=cache)
    assert gap(first[mask], expected["batch.logits"][mask]) < 1e-6
    spans: list = []
    hook = model.layers[0].register_forward_pre_hook(lambda _, args: spans.append(args[1]))
    steps = [first[:, -1:], *(model(text[:, t : t + 1], cache=cache) for t in range(11, 16))]
    hook.remove()
    fed = torch.cat([span.positions for span in spans], 1)
    assert torch.equal(fed, expected["batch.decode_position_ids"][:, 1:])
    assert torch.equal(mask.long().cumsum(1)[mask] - 1, inputs["batch.position_ids"][mask])
    assert gap(torch.cat(steps, 1), expected["batch.decode_logits"]) < 1e-6
    out = zoo.generate(model, tokens, attention_mask=mask, max_new_tokens=6, eos_token_id=[])
    assert [list(row) for row in out.new_tokens] == text[:, -6:].tolist()


@torch.inference_mode()
def test_a_chunk_on_a_cache_equals_the_released_codes(model, inputs, expected) -> None:
    tokens = inputs["plain.input_ids"]
    rows = len(expected["chunked.logits"])
    cache = model.new_cache(rows, 21)
    model(tokens[:rows, :9], cache=cache)
    assert gap(model(tokens[:rows, 9:], cache=cache), expected["chunked.logits"]) < 1e-6


@torch.inference_mode()
def test_exported_files_hold_the_same_tensors(folder: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load(folder), tmp_path / "out")
    assert zoo.inspect(tmp_path / "out").config == zoo.inspect(folder).config
    stored, back = load_file(folder / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert {name for name in stored if not name.endswith("inv_freq")} == set(back)
    assert all(torch.equal(stored[name], back[name]) for name in back)


def raw(**changed):
    hf = installed()["chatglm2"].dialect("hf")
    return {**hf.to_config(preset("chatglm3-6b")), **changed}


def rope_of(**changed) -> RopeConfig:
    return installed()["chatglm2"].dialect("hf").from_config(ForeignConfig(raw(**changed))).rope


def test_generations_are_told_apart_by_what_their_configs_hold() -> None:
    first = installed()["chatglm"].dialect("hf").to_config(preset("chatglm-6b"))
    for config, family, words in (
        (first, "chatglm", "position_encoding_2d"),
        (raw(), "chatglm2", "multi_query_group_num"),
        (raw(**GLM4, rope_ratio=500), "chatglm2", "GLM-4-9B"),
    ):
        ((found, match),) = installed().detect(config)
        assert found.name == family
        assert words in match.reasons[0]
    assert installed().detect({"model_type": "chatglm"}) == []


def test_biases_are_there_only_where_the_config_says_so() -> None:
    """The released ChatGLMConfig has add_qkv_bias=False by default."""
    without = {key: value for key, value in raw().items() if key != "add_qkv_bias"}
    assert not installed()["chatglm2"].dialect("hf").from_config(ForeignConfig(without)).attention_bias


def test_rope_ratio_multiplies_the_base_of_GLM_4() -> None:
    assert rope_of(**GLM4, rope_ratio=500) == RopeConfig(theta=5_000_000.0, partial=0.5)
    assert rope_of(rope_ratio=1) == RopeConfig(partial=0.5)


def test_a_rope_ratio_of_two_meanings_is_refused_until_it_is_said() -> None:
    with pytest.raises(CheckpointError, match="rope_ratio: 50 has two meanings") as caught:
        rope_of(rope_ratio=50)
    assert "zoo_rope_ratio_of" in caught.value.hint
    assert rope_of(rope_ratio=50, zoo_rope_ratio_of="base") == RopeConfig(theta=500_000.0, partial=0.5)
    stretched = rope_of(rope_ratio=4, zoo_rope_ratio_of="positions")
    assert stretched == RopeConfig(partial=0.5, scaling="linear", factor=4.0)
    with pytest.raises(CheckpointError, match="'both' is not known"):
        rope_of(rope_ratio=4, zoo_rope_ratio_of="both")


@torch.inference_mode()
def test_divided_positions_are_a_stretched_context() -> None:
    kind = installed()["chatglm2"].config_class
    values = {**kind.tiny().to_dict(), "rope": {"partial": 0.5}}
    plain = materialise(on_meta(kind.from_dict(values), dtype="float64"), device="cpu", seed=1)
    values["rope"] |= {"scaling": "linear", "factor": 4.0}
    stretched = materialise(on_meta(kind.from_dict(values), dtype="float64"), device="cpu", seed=1)
    tokens = torch.arange(12)[None]
    assert gap(stretched(tokens), plain(tokens, positions=torch.arange(12)[None] / 4)) < 1e-12


@pytest.mark.parametrize(
    "key",
    [
        {"original_rope": False}, {"rmsnorm": False}, {"post_layer_norm": False}, {"multi_query_attention": False},
        {"add_bias_linear": True}, {"apply_residual_connection_post_layernorm": True}, {"quantization_bit": 4},
        {"pre_seq_len": 128}, {"num_hidden_layers": 3}, {"vocab_size": 7}, {"rotary_percent": 0.5},
    ],
)  # fmt: skip
def test_other_models_of_the_same_name_are_refused(key: dict) -> None:
    with pytest.raises(CheckpointError, match=f"{next(iter(key))}: .* is not supported"):
        rope_of(**key)


def test_rotary_settings_without_a_key_are_not_written() -> None:
    family = installed()["chatglm2"]
    values = family.config_class.tiny().to_dict()
    for rope in ({"partial": 1.0}, {"partial": 0.5, "scaling": "yarn", "factor": 4.0}):
        with pytest.raises(UsageError, match=r"cannot store model\.rope="):
            family.dialect("hf").to_config(family.config_class.from_dict({**values, "rope": rope}))
    with pytest.raises(ConfigError, match="is 3 channels, not whole pairs"):
        family.config_class.from_dict({**values, "rope": {"partial": 0.25}})


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_parameters(name: str) -> None:
    assert Size.of(preset(name)).parameters == PUBLISHED[name]
