"""Qwen2.5-1M's dual chunk attention against the released code's numbers (see ../shared/golden/qwen2.5-1m-dca)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
from zoo.errors import CheckpointError, ConfigError
from zoo.models.construction import on_meta
from zoo.nn import hidden_states
from zoo.presets.composition import compose
from zoo.registry import installed
from zoo.testing import check_family
from zoo.weights import ForeignConfig

LIMIT = 1e-6  # the expectations are stored in float32
LENGTHS = (10, 24, 25, 32, 33, 48, 49, 72, 73, 120, 200)
OTHERS = {  # chunk_size, local_size, original_max_seq_len
    "chunk24_local8_orig64": (24, 8, 64),
    "chunk40_local4_orig1000": (40, 4, 1000),
}
HUB = {"chunk_size": 262144, "local_size": 8192, "original_max_position_embeddings": 262144}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "golden" / "qwen2.5-1m-dca"


@pytest.fixture(scope="module")
def inputs(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "inputs.safetensors")


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "expected.safetensors")


@pytest.fixture(scope="module")
def model(folder: Path) -> nn.Module:
    return zoo.load(folder, dtype="float64")


def with_chunks(model: Any, chunk_size: int, local_size: int, original: int) -> Any:
    """The same weights, attending in other chunks."""
    sizes = {"chunk_size": chunk_size, "local_size": local_size, "original_max_seq_len": original}
    found = on_meta(replace(model.config, dual_chunk=replace(model.config.dual_chunk, **sizes)), dtype="float64")
    found.load_state_dict(model.state_dict(), assign=True)
    return found


def close(found: Tensor, stored: Tensor) -> None:
    assert found.shape == stored.shape
    assert (found - stored.double()).abs().max() < LIMIT


@pytest.mark.parametrize("length", LENGTHS)
@torch.no_grad()
def test_logits_equal_the_released_code(model: Any, inputs: Any, expected: Any, length: int) -> None:
    """Below, across and far beyond a chunk of 24 tokens and the original 32."""
    found = model(inputs["input_ids"][:, :length])[:, inputs[f"len{length}.rows"]]
    close(found, expected[f"len{length}.logits"])


@pytest.mark.parametrize("length", [20, 48, 200])
@pytest.mark.parametrize("name", OTHERS)
@torch.no_grad()
def test_other_chunks_equal_the_released_code(model: Any, inputs: Any, expected: Any, name: str, length: int) -> None:
    other = with_chunks(model, *OTHERS[name])
    found = other(inputs["input_ids"][:, :length])[:, inputs[f"len{length}.rows"]]
    close(found, expected[f"{name}.len{length}.logits"])


@torch.no_grad()
def test_hidden_states_equal_the_released_code(model: Any, inputs: Any, expected: Any) -> None:
    states = hidden_states(model, inputs["input_ids"][:, :73])
    del states[-2]  # the last layer's output was kept only after the final norm
    close(torch.stack(states), expected["len73.hidden_states"])


@pytest.mark.slow
@pytest.mark.parametrize("prompt", [20, 30, 100])
@torch.no_grad()
def test_cached_steps_equal_the_released_code(model: Any, inputs: Any, expected: Any, prompt: int) -> None:
    """Each step's key takes the temperature of its own time, and so do the cached keys keep theirs."""
    stored = expected[f"decode{prompt}.logits"]
    tokens, steps = inputs["input_ids"], stored.shape[1]
    cache = model.new_cache(1, prompt + steps)
    parts = tokens[:, : prompt + steps - 1].split((prompt, *[1] * (steps - 1)), 1)
    close(torch.cat([model(part, cache=cache, last=True) for part in parts], 1), stored)
    if prompt == 100:
        keys = expected["decode100.key_cache.layer0"]
        close(cache.layers[0].k[:, :, : 4 * keys.shape[2] : 4], keys)


@torch.no_grad()
def test_without_temperature_steps_equal_one_pass(model: Any, inputs: Any, expected: Any) -> None:
    plain, tokens = with_chunks(model, 32, 8, 100_000), inputs["input_ids"][:, :150]
    whole, cache = plain(tokens), plain.new_cache(1, 150)
    close(whole[:, inputs["len150.rows"]], expected["notemp.len150.logits"])
    parts = tokens.split((40, 1, 1, 30, *[1] * 18, 60), 1)
    assert (torch.cat([plain(part, cache=cache) for part in parts], 1) - whole).abs().max() < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"])
def test_every_qwen_keeps_the_contract_in_chunks(name: str) -> None:
    tiny = installed()[name].config_class.tiny()
    chunks = compose("qwen2.5-7b-1m").dual_chunk
    chunks = replace(chunks, chunk_size=6, local_size=2, original_max_seq_len=40)
    config = replace(tiny, sliding_window=None, sliding_layers=None, dual_chunk=chunks)
    assert not [
        str(c)
        for c in check_family(name, config=config, groups=("config", "model", "cache", "weights"))
        if c.state == "fail"
    ]


def read(group: Any, **keys: Any) -> Any:
    """The config of a Qwen2 whose dual_chunk_attention_config is `group`."""
    family = installed()["qwen2"]
    tiny = replace(family.config_class.tiny(), sliding_window=None, sliding_layers=None)
    hf = ForeignConfig(family.dialect("hf").to_config(tiny) | {"dual_chunk_attention_config": group} | keys)
    config = family.dialect("hf").from_config(hf)
    hf.check()
    return config


def test_the_hubs_group_is_read_and_its_approximation_let_pass() -> None:
    assert read(HUB).dual_chunk == compose("qwen2.5-14b-1m").dual_chunk
    sparse = {
        "sparse_attention_config": [{"0": ["vertical_and_slash", 1000, 6096, 1.0]}],
        "sparse_attention_enabled": True,
    }
    assert read(HUB | sparse) == read(HUB)
    assert read({"chunk_size": 8, "local_size": 2}).dual_chunk.original_max_seq_len is None
    assert read(None).dual_chunk.chunk_size is None


@pytest.mark.parametrize(
    ("group", "keys", "message"),
    [
        ({"chunk_size": 8}, {}, "dual_chunk_attention_config: local_size is missing"),
        (HUB | {"num_chunks": 3}, {}, "num_chunks is not known"),
        (HUB | {"local_size": 262144}, {}, "uses up all of"),
        (HUB | {"chunk_size": "many"}, {}, "chunk_size='many' is not int"),
    ],
)
def test_another_group_is_refused(group: dict[str, Any], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(group, **keys)


def test_chunks_do_not_go_with_windows_or_stretched_positions() -> None:
    config = read(HUB)
    with pytest.raises(ConfigError, match=r"model\.dual_chunk cannot be used with"):
        replace(config, sliding_window=5)
    with pytest.raises(ConfigError, match=r"model\.dual_chunk cannot be used with"):
        replace(config, rope=replace(config.rope, scaling="yarn", factor=4.0))


@pytest.mark.slow
def test_chunks_are_switched_on_by_hand() -> None:
    config = compose("qwen2.5-7b", "model.dual_chunk.chunk_size=32768", "model.dual_chunk.local_size=1024")
    assert config.anatomy().traits["attention"] == "GQA 28/4, dual chunks of 32768"
    with pytest.raises(ConfigError, match="must be set together"):
        compose("qwen2.5-7b", "model.dual_chunk.chunk_size=32768")
    with pytest.raises(ConfigError, match=r"model\.dual_chunk cannot be used with"):
        compose("qwen2.5-7b-1m", "rope=yarn")
