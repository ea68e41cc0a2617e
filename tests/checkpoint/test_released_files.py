"""What is odd in released files and means nothing: a plain model of its day is read without a word."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest

import zoo
from tests.checkpoint.conftest import Change
from zoo.errors import CheckpointError
from zoo.registry import installed
from zoo.weights import ForeignConfig, younger
from zoo.weights.foreign.age import release

Keys = dict[str, Any]

OLD_ROTATION = ("rope_parameters", "rope_scaling", "rope_theta")
OLD: dict[str, tuple[str, tuple[str, ...], Keys]] = {  # the family, what its first files lack, and what they have
    "LLaMA of 2023": ("llama", (*OLD_ROTATION, "max_position_embeddings"), {"transformers_version": "4.28.0.dev0"}),
    "Llama 2": ("llama", OLD_ROTATION, {"rope_scaling": None, "transformers_version": "4.31.0.dev0"}),
    "Falcon of 2023": ("falcon", (*OLD_ROTATION, "max_position_embeddings", "activation"),
                       {"transformers_version": "4.33.0.dev0"}),
    "GPT-NeoX-20B": ("gpt_neox", ("rope_parameters", "use_parallel_residual"),
                     {"rotary_pct": 0.25, "rotary_emb_base": 10000, "transformers_version": "4.19.0.dev0"}),
    "T5 of 2019": ("t5", ("relative_attention_max_distance", "feed_forward_proj", "dense_act_fn", "is_gated_act"), {}),
    "OPT": ("opt", ("enable_bias",), {"prefix": "</s>"}),
    "opus-mt of 2020": ("transformer", ("decoder_vocab_size", "share_encoder_decoder_embeddings"), {}),
    "BLOOM by transformers 5": ("bloom", ("seq_length",), {}),
    "DeepSeek-V3 by transformers 5": ("deepseek", ("moe_layer_freq",), {}),
    "Gemma by transformers 5": ("gemma", (), {"use_bidirectional_attention": None}),
    "Pythia by transformers 5": ("gpt_neox", (), {"is_decoder": False}),
    "StableLM 2": ("stablelm", ("use_parallel_residual",), {}),
    "ChatGLM3": ("chatglm2", ("rope_ratio",), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", OLD)
def test_keys_younger_than_a_file_are_not_told(change: Change, case: str) -> None:
    family, absent, keys = OLD[case]
    assert zoo.inspect(change(family, *absent, **keys)).notes == []


def test_the_first_ChatGLM_names_no_masks(change: Change) -> None:
    raw = json.loads((change("chatglm") / "config.json").read_text()) | {"vocab_size": 150_528}
    hf = ForeignConfig({key: value for key, value in raw.items() if key not in ("mask_token_id", "gmask_token_id")})
    config = installed()["chatglm"].dialect("hf").from_config(hf)
    assert (config.mask_token_id, config.gmask_token_id) == (150_000, 150_001)
    assert hf.assumed == {}


@pytest.mark.parametrize("version", ["4.33.0", "4.45.2", "5.0.0", None, "", "main"])
def test_a_key_that_the_file_could_have_is_told(change: Change, version: str | None) -> None:
    ledger = zoo.inspect(change("llama", *OLD_ROTATION, transformers_version=version))
    assert ledger.assumed == {"rope_parameters": {"rope_type": "default"}, "rope_theta": 10_000.0}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [("4.28.0", "4.28.1"), ("4.33.0.dev0", "4.33.0"), ("5.0.0rc1", "5.0"), ("4.9.2", "4.10"), ("4.57.6", "5.0.0.dev0")],
)
def test_releases_are_in_the_order_of_their_numbers(earlier: str, later: str) -> None:
    first, second = release(earlier), release(later)
    assert first is not None
    assert second is not None
    assert first < second
    for version, left in ((earlier, {}), (later, {"x": 1})):
        hf = ForeignConfig({"transformers_version": version}, assumed={"x": 1})
        younger(hf, x=later)
        assert hf.assumed == left


def test_what_a_group_of_transformers_own_files_lacks_is_not_told(change: Change) -> None:
    raw = json.loads((change("gemma3_vl") / "config.json").read_text())
    del raw["text_config"]["rms_norm_eps"], raw["vision_config"]["layer_norm_eps"]
    groups = {name: raw[name] for name in ("text_config", "vision_config")}
    assert zoo.inspect(change("gemma3_vl", **groups, transformers_version="4.50.0.dev0")).notes == []
    assert zoo.inspect(change("gemma3_vl", **groups)).notes != []


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("bert", {"eos_token_ids": 0}), ("bert", {"_num_labels": 2}), ("roberta", {"name": "Roberta"}),
        ("llama4_vl", {"image_processor_config": {"max_patches": 16}}), ("llama", {"output_past": True}),
        ("vit", {"tie_word_embeddings": True}), ("siglip", {"tie_word_embeddings": True}),
    ],
)  # fmt: skip
def test_what_no_model_reads_is_passed_over(change: Change, family: str, keys: Keys) -> None:
    assert zoo.inspect(change(family, **keys)).notes == []


def test_ties_that_a_decoder_does_not_ask_for_are_refused() -> None:
    for classes, is_refused in ((("ViTModel",), False), (("OwnForCausalLM",), True)):
        hf = ForeignConfig({"tie_word_embeddings": True})
        hf.of_class(*classes)
        with pytest.raises(CheckpointError, match="tie_word_embeddings") if is_refused else nullcontext():
            hf.check()


def test_two_spellings_that_agree_are_both_read(change: Change) -> None:
    raw = json.loads((change("falcon") / "config.json").read_text())
    heads, layers = raw["num_attention_heads"], raw["num_hidden_layers"]
    ledger = zoo.inspect(change("falcon", n_head=heads, n_layer=layers))
    ledger.check()
    assert {"n_head", "n_layer"} <= ledger.keys.used
    with pytest.raises(CheckpointError, match="n_head"):
        zoo.inspect(change("falcon", n_head=heads + 1, n_layer=layers))


def test_GLM_5_says_which_layers_choose_in_the_words_of_its_day(change: Change) -> None:
    raw = json.loads((change("deepseek_v32") / "config.json").read_text())
    count, experts = raw["num_hidden_layers"], raw["n_routed_experts"]
    types = ["deepseek_sparse_attention"] * count
    zoo.inspect(change("deepseek_v32", layer_types=types, num_experts=experts)).check()
    with pytest.raises(CheckpointError, match="layer_types"):
        zoo.inspect(change("deepseek_v32", layer_types=["full_attention", *types[1:]]))
    with pytest.raises(CheckpointError, match="num_experts"):
        zoo.inspect(change("deepseek_v32", num_experts=experts + 1))
