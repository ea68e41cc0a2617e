"""Gemma 4: the released configs, both spellings of its heads, files with towers, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo import presets
from zoo.anatomy import RopeConfig
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError
from zoo.registry import installed
from zoo.weights import ForeignConfig

LOCAL, GLOBAL = "sliding_attention", "full_attention"
TEXT: dict[str, Any] = {  # of the 26B-A4B
    "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": True, "bos_token_id": 2,
    "dtype": "bfloat16", "enable_moe_block": True, "eos_token_id": 1, "final_logit_softcapping": 30.0,
    "global_head_dim": 512, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2816,
    "hidden_size_per_layer_input": 0, "initializer_range": 0.02, "intermediate_size": 2112,
    "layer_types": ([LOCAL] * 5 + [GLOBAL]) * 5, "max_position_embeddings": 262144, "model_type": "gemma4_text",
    "moe_intermediate_size": 704, "num_attention_heads": 16, "num_experts": 128, "num_global_key_value_heads": 2,
    "num_hidden_layers": 30, "num_key_value_heads": 8, "num_kv_shared_layers": 0, "pad_token_id": 0,
    "rms_norm_eps": 1e-06, "sliding_window": 1024, "tie_word_embeddings": True, "top_k_experts": 8,
    "rope_parameters": {
        GLOBAL: {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
        LOCAL: {"rope_theta": 10000.0, "rope_type": "default"},
    },
    "use_bidirectional_attention": "vision", "use_cache": True, "use_double_wide_mlp": False, "vocab_size": 262144,
    "vocab_size_per_layer_input": 262144,
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "architectures": ["Gemma4ForConditionalGeneration"], "audio_config": None, "audio_token_id": 258881,
    "boa_token_id": 256000, "boi_token_id": 255999, "dtype": "bfloat16", "eoa_token_index": 258883,
    "eoi_token_id": 258882, "eos_token_id": [1, 106], "image_token_id": 258880, "initializer_range": 0.02,
    "model_type": "gemma4", "text_config": TEXT, "tie_word_embeddings": True, "transformers_version": "5.5.0.dev0",
    "video_token_id": 258884, "vision_config": {"model_type": "gemma4_vision"}, "vision_soft_tokens_per_image": 280,
}  # fmt: skip
DENSE = {"enable_moe_block": False, "num_experts": None, "top_k_experts": None, "moe_intermediate_size": None}
SMALL = DENSE | {
    "attention_k_eq_v": False, "num_global_key_value_heads": None, "hidden_size_per_layer_input": 256,
    "max_position_embeddings": 131072, "num_attention_heads": 8, "sliding_window": 512,
    "use_bidirectional_attention": None,
}  # fmt: skip
RELEASED: dict[str, dict[str, Any]] = {
    "gemma4-26b-a4b": {},
    "gemma4-31b": DENSE | {
        "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 60, "num_attention_heads": 32,
        "layer_types": ([LOCAL] * 5 + [GLOBAL]) * 10, "num_key_value_heads": 16, "num_global_key_value_heads": 4,
    },
    "gemma4-e2b": SMALL | {
        "hidden_size": 1536, "intermediate_size": 6144, "num_hidden_layers": 35, "num_key_value_heads": 1,
        "layer_types": ([LOCAL] * 4 + [GLOBAL]) * 7, "num_kv_shared_layers": 20, "use_double_wide_mlp": True,
    },
    "gemma4-e4b": SMALL | {
        "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 42, "num_key_value_heads": 2,
        "layer_types": ([LOCAL] * 5 + [GLOBAL]) * 7, "num_kv_shared_layers": 18,
    },
}  # fmt: skip
PUBLISHED = {"gemma4-31b": 30.7, "gemma4-26b-a4b": 25.2}  # billions, towers aside; of the small ones with theirs alone
TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11, 2, 8, 1, 6, 50, 60]])


def read(text: dict[str, Any]) -> Any:
    hf = ForeignConfig(WHOLE | {"text_config": text})
    config = installed()["gemma4"].dialect("hf").from_config(hf)
    hf.check()
    return config


def tiny(**fields: Any) -> Any:
    return replace(installed()["gemma4"].config_class.tiny(), **fields)


@pytest.mark.parametrize("name", RELEASED)
def test_released_config_is_the_preset(name: str) -> None:
    known = presets.config(name)
    assert read(TEXT | RELEASED[name]) == replace(
        known, **{f: getattr(type(known), f) for f in BOOKKEEPING}, eos_token_id=[1, 106]
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_number_of_parameters(name: str) -> None:
    (record,) = (r for r in presets.list_models(name) if r.name == name)
    assert record.parameters is not None
    assert round(record.parameters / 1e9, 1) == PUBLISHED[name]


FULL = {"head_dim": 512, "num_key_value_heads": 2}


@pytest.mark.parametrize("number", ["{}", "{:02}"])
def test_heads_told_layer_by_layer_are_those_of_the_released_spelling(number: str) -> None:
    """As transformers 5 writes them: with two digits where there are more than ten layers."""
    layers = {number.format(i): FULL for i in range(5, 30, 6)}
    text = {key: value for key, value in TEXT.items() if "global" not in key}
    assert read(text | {"per_layer_config": layers}) == read(TEXT)
    assert read(TEXT | {"per_layer_config": layers}) == read(TEXT)


@pytest.mark.parametrize(
    ("head_dim", "heads", "said"),
    [(512, 2, {"num_key_value_heads": 2}), (256, 8, {"head_dim": 512}), (512, 8, {}), (512, 8, None)],
)
def test_heads_that_are_those_of_all_layers_are_not_told_again(head_dim: int, heads: int, said: Any) -> None:
    """transformers 5 leaves out what a layer shares with the others, and the layer where nothing is left."""
    text = {key: value for key, value in TEXT.items() if "global" not in key} | {"head_dim": head_dim}
    layers = {} if said is None else {f"{i:02}": said for i in range(5, 30, 6)}
    config = read(text | {"per_layer_config": layers})
    assert (config.heads_of(False), config.heads_of(True)) == ((16, 8, head_dim), (16, heads, 512))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"per_layer_config": {"5": {"head_dim": 512}}}, "per_layer_config: it is not read"),
        ({"per_layer_config": {}}, "'global_head_dim': 256.*, and the other keys say"),
        ({"per_layer_config": {str(i): FULL for i in range(6)}}, "it is not read"),
        ({"per_layer_config": {str(i): FULL | {"sliding_window": 9} for i in range(5, 30, 6)}}, "it is not read"),
        ({"per_layer_config": {"5": FULL} | {f"{i:02}": FULL for i in range(5, 30, 6)}}, "it is not read"),
        ({"per_layer_config": {"five": FULL} | {str(i): FULL for i in range(11, 30, 6)}}, "it is not read"),
        ({"per_layer_config": {str(i): {"head_dim": 128} for i in range(5, 30, 6)}}, "and the other keys say"),
        ({"num_kv_shared_layers": 30}, "num_kv_shared_layers: 30 of 30 layers cannot take"),
        ({"layer_types": [GLOBAL]}, "layer_types: it does not say"),
        ({"layer_types": [GLOBAL] * 29 + [LOCAL]}, "layer_types: the last layer of a Gemma 4 must be full_attention"),
        ({"hidden_activation": "silu"}, "hidden_activation"),
        ({"model_type": "gemma3_text"}, "model_type"),
        ({"use_bidirectional_attention": "all"}, "use_bidirectional_attention: 'all' is not supported"),
        ({"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 100}, "vocab_size_per_layer_input: 100"),
        ({"rope_parameters": {LOCAL: {"rope_type": "default", "rope_theta": 1e4}}}, "rope_parameters.full_attention"),
        (
            {"rope_parameters": TEXT["rope_parameters"] | {GLOBAL: {"rope_type": "yarn", "rope_theta": 1e6}}},
            "rope_parameters.full_attention: .*yarn.* is not supported",
        ),
    ],
)
def test_another_model_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(TEXT | keys)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sharing_from": 1}, r"model\.sharing_from=1 leaves no layer of the same kind before it"),
        ({"local_rope": RopeConfig(scaling="linear", factor=2.0)}, r"model\.local_rope has more than a theta"),
        ({"global_layers": [9]}, r"model\.global_layers=\[9\] must be layer numbers in order"),
        ({"global_layers": [1]}, r"and the last of them 5"),
        ({"global_rotary": 1.5}, r"model\.global_rotary=1\.5 is not from 0 to 1"),
        ({"global_head_dim": 15}, r"model\.global_head_dim=15 is not even"),
        ({"global_kv_heads": 4}, r"model\.global_kv_heads"),
        ({"experts_per_token": 6}, r"model\.experts_per_token=6 exceeds model\.num_experts=5"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(**fields)


@pytest.mark.filterwarnings("ignore")
@torch.inference_mode()
def test_the_text_of_a_file_with_towers_is_the_text_alone(tmp_path: Path) -> None:
    """Keys of layers that share those of others are in the released files, and read by nobody."""
    model: Any = zoo.build(tiny(), device="cpu").eval()
    text = zoo.save(model, tmp_path / "text")
    raw = json.loads((text / "config.json").read_text())
    stored = load_file(text / "model.safetensors")
    stored = {n.replace("model.", "model.language_model.", 1): t for n, t in stored.items()}
    beside = ["vision_tower.x", "audio_tower.x", "embed_vision.x", "language_model.layers.4.self_attn.k_proj.weight"]
    stored |= {f"model.{name}": torch.ones(2) for name in beside}
    (tmp_path / "whole").mkdir()
    save_file(stored, tmp_path / "whole/model.safetensors", {"format": "pt"})
    (tmp_path / "whole/config.json").write_text(json.dumps(WHOLE | {"text_config": raw}))
    assert len(zoo.inspect(tmp_path / "whole", family="gemma4").account.ignored) == len(beside)
    gap = (zoo.load(tmp_path / "whole", family="gemma4")(TOKENS) - model(TOKENS)).abs().max().item()
    assert gap < 1e-6  # float32: tensors in a file lie elsewhere, and are summed in another order


@torch.inference_mode()
def test_what_leaves_a_layer_is_times_its_scalar() -> None:
    """The number is 1 in every model that starts from nothing, and elsewhere in the released ones."""
    model: Any = zoo.build(tiny(num_layers=1, global_layers=[0], sharing_from=None), device="cpu").eval()
    seen: list[torch.Tensor] = []
    model.layers[0].register_forward_hook(lambda _, __, out: seen.append(out))
    model(TOKENS)
    model.layers[0].scalar.fill_(0.37)
    model(TOKENS)
    assert torch.equal(seen[1], seen[0] * 0.37)


def test_layers_that_share_keys_cache_none() -> None:
    cache = zoo.build(tiny(), device="cpu").new_cache(2, 12)  # pyrefly: ignore[missing-attribute]
    assert [layer.nbytes > 0 for layer in cache.layers] == [True] * 4 + [False] * 2
