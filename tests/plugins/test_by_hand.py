"""Families that transformers has no class for, against a forward of their released code's arithmetic by hand.

float64 logits are held to 1e-9 of their root mean square: both sides differ by the order of sums only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.plugins.by_hand import CASES, FORWARDS, config_of
from zoo.errors import CheckpointError
from zoo.models.construction import materialise, on_meta
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.weights import ForeignConfig


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_logits_equal_the_original_forward(case: str, tmp_path: Path) -> None:
    config = config_of(case)
    zoo.save(peaked(materialise(on_meta(config, dtype="float64"), device="cpu")), tmp_path / "x")
    raw = json.loads((tmp_path / "x" / "config.json").read_text())
    stored = {n: t.double() for n, t in load_file(tmp_path / "x" / "model.safetensors").items()}
    tokens = torch.randint(4, 60, (23,), generator=torch.Generator().manual_seed(5))
    expected = FORWARDS[config.family](stored, raw, tokens)
    found = zoo.load(tmp_path / "x", dtype="float64")(tokens[None])[0]
    assert (found - expected).abs().max() < 1e-9 * expected.square().mean().sqrt()


RELEASED: dict[str, dict[str, Any]] = {  # config.json of these repositories, bookkeeping left out
    "baichuan-inc/Baichuan-7B": {
        "architectures": ["BaiChuanForCausalLM"], "auto_map": {
            "AutoConfig": "configuration_baichuan.BaiChuanConfig",
            "AutoModelForCausalLM": "modeling_baichuan.BaiChuanForCausalLM"},
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
        "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "baichuan",
        "num_attention_heads": 32, "num_hidden_layers": 32, "pad_token_id": 0, "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 64000},
    "baichuan-inc/Baichuan-13B-Base": {
        "architectures": ["BaichuanForCausalLM"], "auto_map": {
            "AutoConfig": "configuration_baichuan.BaichuanConfig",
            "AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM"},
        "bos_token_id": 1, "eos_token_id": 2, "gradient_checkpointing": [False], "hidden_act": "silu",
        "hidden_size": 5120, "intermediate_size": 13696, "model_max_length": 4096, "model_type": "baichuan",
        "num_attention_heads": 40, "num_hidden_layers": 40, "pad_token_id": 0, "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 64000},
    "baichuan-inc/Baichuan2-13B-Base": {
        "architectures": ["BaichuanForCausalLM"], "auto_map": {
            "AutoConfig": "configuration_baichuan.BaichuanConfig",
            "AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM"},
        "tokenizer_class": "BaichuanTokenizer", "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        "hidden_size": 5120, "intermediate_size": 13696, "model_max_length": 4096, "model_type": "baichuan",
        "num_attention_heads": 40, "num_hidden_layers": 40, "pad_token_id": 0, "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 125696, "z_loss_weight": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("repository", "has_alibi", "has_normed_head"),
    [(name, "13B" in name, "2-" in name) for name in RELEASED],
)
def test_the_four_baichuans_are_told_apart(repository: str, has_alibi: bool, has_normed_head: bool) -> None:
    keys = ForeignConfig(RELEASED[repository])
    config = installed()["baichuan"].dialect("hf").from_config(keys)
    keys.check()
    assert (config.has_alibi, config.has_normed_head) == (has_alibi, has_normed_head)


# Tensors have LLaMA's names and shapes in these, and the numbers are others.
@pytest.mark.parametrize("name", ["ernie4_5", "granite", "helium", "internlm3", "minicpm", "smollm3"])
def test_a_model_with_llamas_tensors_is_no_llama(name: str) -> None:
    config = installed()[name].config_class.tiny()
    raw = installed()[name].dialect("hf").to_config(config)
    assert [family.name for family, _ in installed().detect(raw, "hf")] == [name]
    with pytest.raises(CheckpointError):  # its class is another, or its keys are not known
        read_as_llama(raw)


def read_as_llama(raw: dict[str, Any]) -> None:
    keys = ForeignConfig(raw)
    installed()["llama"].dialect("hf").from_config(keys)
    keys.check()
