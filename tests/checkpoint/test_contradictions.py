"""What contradicts itself in a checkpoint is refused by its key or tensor, and the ledger adds up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.checkpoint.conftest import Change
from tests.some import one_in, some
from zoo.cli.inspect import lines
from zoo.errors import CheckpointError, ConfigError
from zoo.registry import DISTRIBUTION, installed

OURS = [n for n, f in installed().families.items() if installed().origin[n].distribution == DISTRIBUTION]
STORED = [n for n in OURS if "hf" in installed()[n].formats]


# ---- contradictions


@pytest.mark.parametrize(
    ("keys", "words"),
    one_in(4, [
        ({"rms_norm_eps": 1e30}, "rms_norm_eps: model.norm_eps=1e+30 is not from 0 to 0.1"),
        ({"rms_norm_eps": -1e-6}, "norm_eps=-1e-06"),
        ({"rope_theta": 1e30, "rope_parameters": None}, "theta=1e+30 is not above 1 and up to"),
        ({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 8.0}}, "rope_theta: 7.0, but rope_parameters says 8.0"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 1e30}}, "factor=1e+30"),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 1.0, "beta_slow": 2.0}},
            "beta_fast=1.0 is below beta_slow=2.0",
        ),
        (
            {"rope_parameters": {
                "rope_type": "llama3", "factor": 2.0, "low_freq_factor": 2.5, "high_freq_factor": 2.0,
            }},
            "low_freq_factor=2.5 is above high_freq_factor=2.0",
        ),
        (
            {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0, 1.0]}},
            "rope_parameters: model.rope.short_factor has 1 numbers, but",
        ),
        ({"rope_parameters": 0}, "0 is not a group of keys"),
        ({"rope_parameters": []}, "is not a group of keys"),
        ({"num_attention_heads": 3, "num_key_value_heads": 2}, "num_attention_heads: model.num_heads=3 is not a multi"),
        ({"head_dim": 0}, "head_dim: model.head_dim=0 is below 1"),
        ({"vocab_size": -1}, "vocab_size: model.vocab_size=-1 is below 1"),
    ]),
)  # fmt: skip
def test_contradictions_are_refused_by_the_key_of_the_file_before_anything_is_written(
    change: Change, keys: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = change("llama", **keys)
    for door in (zoo.inspect, zoo.load, lambda source: zoo.convert(source, tmp_path / "out")):
        with pytest.raises(CheckpointError) as error:
            door(folder)
        assert words in str(error.value)
        assert "config.json" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    one_in(
        4,
        [
            ("deepseek", {"q_lora_rank": 0}, "q_lora_rank: model.q_lora_rank=0 is below 1"),
            ("deepseek", {"head_dim": 99}, "head_dim: 99 is not supported"),
            ("deepseek", {"routed_scaling_factor": 0.0}, "routed_scale=0.0"),
            ("mixtral", {"num_experts_per_tok": 9}, "experts_per_token=9 exceeds"),
            ("qwen2_moe", {"mlp_only_layers": [-1]}, "mlp_only_layers: -1 is not one of"),
            ("gemma", {"query_pre_attn_scalar": -4}, "query_pre_attn_scalar=-4"),
            ("gemma", {"sliding_window_size": 3}, "sliding_window_size: 3 is not supported"),
            ("glm4_moe", {"num_local_experts": 3}, "num_local_experts: 3 is not supported"),
            ("glm", {"partial_rotary_factor": None, "rope_parameters": None}, "null is not a share of the channels"),
            ("deepseek", {"rope_interleave": None}, "rope_interleave: null is neither true nor false"),
            ("gpt2", {"scale_attn_weights": None}, "scale_attn_weights: null is neither true nor false"),
            ("t5", {"scale_decoder_outputs": None}, "scale_decoder_outputs: null is neither true nor false"),
            ("t5", {"is_encoder_decoder": False}, "is_encoder_decoder: False is not supported"),
            ("roberta", {"pad_token_id": None}, "pad_token_id: null is not a token"),
        ],
    ),
)
def test_fields_of_a_family_are_held_to_each_other_when_they_are_read(
    change: Change, name: str, keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError) as error:
        zoo.inspect(change(name, **keys))
    assert words in str(error.value)


def test_a_preset_that_is_wrong_says_which_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.presets import config

    values = config("gpt2").to_dict() | {"num_heads": "x"}
    monkeypatch.setattr("zoo.presets.catalogue.tree", lambda name, presets: values)
    with pytest.raises(ConfigError, match=r"gpt2\.yaml: model\.num_heads='x' is not int"):
        config("gpt2")


# ---- the ledger adds up


def broken(folder: Path) -> Iterator[None]:
    """The folder as it is, then with a tensor more, one less, and one of another shape."""
    yield
    kept = load_file(folder / "model.safetensors")
    first, *rest = sorted(kept)
    for tensors in (kept | {"more.x": torch.zeros(2)}, {n: kept[n] for n in rest}, kept | {first: torch.zeros(3)}):
        (folder / "model.safetensors").unlink()
        save_file(tensors, folder / "model.safetensors")
        yield


@pytest.mark.usefixtures("unadvised")
@pytest.mark.parametrize("name", some(STORED, "llama"))
def test_every_key_and_every_tensor_is_in_one_column(change: Change, name: str) -> None:
    folder = change(name, trainers_own=1, use_cache=True, bos_token_id=1)
    for _ in broken(folder):
        ledger = zoo.inspect(folder, allow=["trainers_own"])
        for keys in (ledger.keys, *ledger.keys.groups):
            columns = [*keys.used, *keys.inert, *keys.allowed]
            assert sorted(columns) == sorted(keys.raw)
        a = ledger.account
        columns = [*a.loaded, *a.tied, *a.ignored, *a.unexpected, *a.mismatched]
        assert sorted(columns) == sorted(ledger.checkpoint.tensors)
        config, tensors = lines(ledger)[2], next(line for line in lines(ledger) if line.startswith("tensors"))
        assert config.endswith("· 1 allowed · 0 unknown")
        assert config.startswith(f"config     {len(ledger.keys.raw)} keys: {len(ledger.keys.used)} used")
        assert tensors.startswith(f"tensors    {len(ledger.checkpoint.tensors)}: {len(a.loaded)} loaded")


# ---- errors name the file's tensor


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_nan_is_refused_by_the_names_of_the_file(change: Change, name: str, tmp_path: Path) -> None:
    folder = change(name)
    tensors = load_file(folder / "model.safetensors")
    theirs = {"llama": "model.embed_tokens.weight", "gpt2": "transformer.wte.weight"}[name]
    tensors[theirs][0, 0] = float("nan")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    for door in (zoo.load, lambda source: zoo.convert(source, tmp_path / "out")):
        with pytest.raises(CheckpointError) as error:
            door(folder)
        expected = f"{folder / 'model.safetensors'}: {theirs} (our embed.weight): it contains NaN or infinity"
        assert str(error.value) == expected
