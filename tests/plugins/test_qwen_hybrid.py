"""Qwen3-Next and Qwen3.5: released configs, files with a tower and MTP, states that beams and drafts ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig

LINEAR = {
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
}  # fmt: skip
KINDS = ["linear_attention"] * 3 + ["full_attention"]
NEXT: dict[str, Any] = {
    "architectures": ["Qwen3NextForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "decoder_sparse_step": 1, "eos_token_id": 151645, "full_attention_interval": 4, "head_dim": 256,
    "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5120, **LINEAR,
    "max_position_embeddings": 262144, "mlp_only_layers": [], "model_type": "qwen3_next",
    "moe_intermediate_size": 512, "norm_topk_prob": True, "num_attention_heads": 16, "num_experts": 512,
    "num_experts_per_tok": 10, "num_hidden_layers": 48, "num_key_value_heads": 2, "output_router_logits": False,
    "partial_rotary_factor": 0.25, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 10000000,
    "router_aux_loss_coef": 0.001, "shared_expert_intermediate_size": 512, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "transformers_version": "4.57.0.dev0", "use_cache": True, "use_sliding_window": False,
    "vocab_size": 151936,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "attention_bias": False, "attention_dropout": 0.0, "attn_output_gate": True, "dtype": "bfloat16",
    "eos_token_id": 248044, "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu",
    "initializer_range": 0.02, **LINEAR, "mamba_ssm_dtype": "float32", "max_position_embeddings": 262144,
    "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False, "rms_norm_eps": 1e-06, "use_cache": True,
    "vocab_size": 248320, "tie_word_embeddings": False,
    "rope_parameters": {
        "mrope_interleaved": True, "mrope_section": [11, 11, 10], "rope_type": "default", "rope_theta": 10000000,
        "partial_rotary_factor": 0.25,
    },
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "image_token_id": 248056, "video_token_id": 248057, "vision_start_token_id": 248053,
    "vision_end_token_id": 248054, "tie_word_embeddings": False, "transformers_version": "4.57.0.dev0",
    "language_model_only": False, "vision_config": {"depth": 27, "model_type": "qwen3_5"},
}  # fmt: skip
DENSE = WHOLE | {
    "architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5",
    "text_config": TEXT | {
        "model_type": "qwen3_5_text", "hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 64,
        "num_attention_heads": 24, "num_key_value_heads": 4, "linear_num_value_heads": 48, "layer_types": KINDS * 16,
        "mlp_only_layers": [],
    },
}  # fmt: skip
SPARSE = WHOLE | {
    "architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe",
    "text_config": TEXT | {
        "model_type": "qwen3_5_moe_text", "hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16,
        "num_key_value_heads": 2, "moe_intermediate_size": 512, "num_experts": 256, "num_experts_per_tok": 8,
        "shared_expert_intermediate_size": 512, "layer_types": KINDS * 10, "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    },
}  # fmt: skip
RELEASED = {"qwen3-next-80b-a3b": NEXT, "qwen3.5-27b": DENSE, "qwen3.5-35b-a3b": SPARSE}
FAMILIES = {"qwen3-next-80b-a3b": "qwen3_next", "qwen3.5-27b": "qwen3_5", "qwen3.5-35b-a3b": "qwen3_5_moe"}
TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11, 2, 8, 1, 6, 50, 41], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12]])


def read(name: str, raw: dict[str, Any]) -> Any:
    hf = ForeignConfig(raw)
    config = installed()[FAMILIES[name]].dialect("hf").from_config(hf)
    hf.check()
    return config


@pytest.mark.parametrize("name", RELEASED)
def test_released_config_is_the_preset(name: str) -> None:
    known = preset(name)
    assert read(name, RELEASED[name]) == replace(known, **{f: getattr(type(known), f) for f in BOOKKEEPING})


# Parameters of the safetensors files on the hub, less those of the tower and of multi-token prediction, which zoo
# leaves out: for Qwen3.5-27B 27,781,427,952 - 460,730,096 - 424,699,392.
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("qwen3-next-80b-a3b", 81_324_862_720 - 1_650_471_424),
        ("qwen3.5-27b", 27_781_427_952 - 460_730_096 - 424_699_392),
        ("qwen3.5-35b-a3b", 35_951_822_704 - 446_571_248 - 844_640_768),
    ],
)
def test_presets_have_the_published_number_of_parameters(name: str, published: int) -> None:
    assert sum(weight.numel for weight in preset(name).anatomy().weights) == published


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("qwen3-next-80b-a3b", {"layer_types": ["linear_attention"]}, "layer_types: it does not say"),
        ("qwen3-next-80b-a3b", {"full_attention_interval": 0}, "full_attention_interval: 0 is below 1"),
        ("qwen3-next-80b-a3b", {"use_sliding_window": True}, "use_sliding_window: True is not supported"),
        ("qwen3-next-80b-a3b", {"attn_output_gate": False}, "attn_output_gate: False is not supported"),
        ("qwen3-next-80b-a3b", {"output_gate_type": "sigmoid"}, "output_gate_type: 'sigmoid' is not supported"),
        ("qwen3-next-80b-a3b", {"mamba_ssm_dtype": "bfloat16"}, "mamba_ssm_dtype"),
        ("qwen3.5-27b", {"tie_word_embeddings": True}, "tie_word_embeddings: text_config says otherwise"),
        ("qwen3.5-27b", {"text_config": TEXT | {"model_type": "qwen2"}}, "model_type"),
        ("qwen3.5-35b-a3b", {"text_config": SPARSE["text_config"] | {"mlp_only_layers": [1]}}, "mlp_only_layers"),
        ("qwen3.5-35b-a3b", {"architectures": ["Qwen3_5ForConditionalGeneration"]}, "architectures"),
    ],
)
def test_another_model_is_refused(name: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(name, RELEASED[name] | keys)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("qwen3_5", {"attention_layers": [3]}, r"model\.attention_layers=\[3\] must be layer numbers in order"),
        ("qwen3_5_moe", {"experts_per_token": 6}, r"model\.experts_per_token=6 exceeds model\.num_experts=5"),
        ("qwen3_next", {"dense_intermediate_size": None}, r"model\.dense_layers=\[2\] needs model\.dense_intermedi"),
    ],
)
def test_contradicting_fields_are_refused(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(installed()[name].config_class.tiny(), **fields)


@pytest.mark.filterwarnings("ignore")
def test_the_text_of_a_file_with_a_tower_and_mtp_is_the_text_alone(tmp_path: Path) -> None:
    model = zoo.build(installed()["qwen3_5"].config_class.tiny(), device="cpu")
    text = zoo.save(model, tmp_path / "text")
    raw = json.loads((text / "config.json").read_text())
    stored = {
        n.replace("model.", "model.language_model.", 1): t for n, t in load_file(text / "model.safetensors").items()
    }
    stored |= {"model.visual.patch_embed.proj.weight": torch.ones(3, 2), "mtp.fc.weight": torch.ones(24, 48)}
    whole = tmp_path / "whole"
    whole.mkdir()
    save_file(stored, whole / "model.safetensors", {"format": "pt"})
    architectures = ["Qwen3_5ForConditionalGeneration"]
    (whole / "config.json").write_text(
        json.dumps(WHOLE | {"architectures": architectures, "model_type": "qwen3_5", "text_config": raw})
    )
    ledger = zoo.inspect(whole)
    assert set(ledger.account.ignored) == {"model.visual.patch_embed.proj.weight", "mtp.fc.weight"}
    with torch.inference_mode():
        assert torch.equal(zoo.load(whole)(TOKENS), model.eval()(TOKENS))


@torch.inference_mode()
def test_beams_take_the_state_along_and_it_goes_back_where_it_looked_ahead() -> None:
    model: Any = zoo.build(installed()["qwen3_5"].config_class.tiny(), device="cpu").double().eval()
    cache = model.new_cache(2, 12)
    model(TOKENS[:, :8], cache=cache)
    cache.reorder(torch.tensor([1, 0]))
    swapped = model(TOKENS.flip(0)[:, 8:], cache=cache)
    torch.testing.assert_close(swapped, model(TOKENS.flip(0))[:, 8:], rtol=1e-9, atol=1e-9)
    assert not cache.can_rewind
    with pytest.raises(UsageError, match="a state keeps only their sum"):
        cache.rewind(9)
    cache.rewind(0)
    torch.testing.assert_close(model(TOKENS, cache=cache), model(TOKENS), rtol=1e-9, atol=1e-9)
    cache = model.new_cache(2, 12)
    cache.look_ahead(3)
    model(TOKENS[:, :8], cache=cache)
    model(TOKENS[:, :4], cache=cache)  # which goes again
    cache.rewind(9)
    cache.rewind(8)
    torch.testing.assert_close(model(TOKENS[:, 8:], cache=cache), model(TOKENS)[:, 8:], rtol=1e-9, atol=1e-9)
