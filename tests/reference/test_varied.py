"""Decoders in settings beside the released ones, against transformers, which also reads what zoo exports."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import zoo
from tests.reference.test_causal import close
from tests.reference.varied import TOKENS, make

pytestmark = pytest.mark.slow

EXPORTED = (
    "qwen2 qwen2-sliding qwen2-yarn qwen2-moe qwen3 qwen3-moe deepseek-v2 deepseek-v2-lite deepseek-v3 gpt-oss "
    "qwen3-next qwen3.5 qwen3.5-moe gemma3n-text gemma4-text gemma4-moe deepseek-v3.2 glm-5.2".split()
)
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
VARIED: dict[str, tuple[str, dict[str, Any]]] = {
    "a window in the middle": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 7,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
    "a window everywhere": ("qwen2", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0}),
    "a window of none": ("qwen2", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 3}),
    "tied": ("qwen2", {"tie_word_embeddings": True}),
    "wider heads": ("qwen2", {"head_dim": 24}),
    "biases in Qwen3": ("qwen3", {"attention_bias": True}),
    "a window in Qwen3": ("qwen3", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}),
    "YaRN in Qwen3": (
        "qwen3",
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
    ),
    "every other layer with experts": ("qwen2-moe", {"decoder_sparse_step": 2}),
    "a layer without experts": ("qwen3-moe", {"mlp_only_layers": [1]}),
    "weights made to sum to 1": ("qwen2-moe", {"norm_topk_prob": True}),
    "weights as they are": ("qwen3-moe", {"norm_topk_prob": False}),
    "no biases": ("qwen2-moe", {"qkv_bias": False}),
    "all experts": ("qwen3-moe", {"num_experts_per_tok": 6}),
    "biases": ("deepseek-v3", {"attention_bias": True}),
    "queries unsqueezed": ("deepseek-v3", {"q_lora_rank": None}),
    "halves rotate": ("deepseek-v3", {"rope_interleave": False}),
    "one group": ("deepseek-v3", {"n_group": 1, "topk_group": 1}),
    "weights as they are, in groups": ("deepseek-v3", {"norm_topk_prob": False}),
    "no dense layer": ("deepseek-v3", {"first_k_dense_replace": 0, "n_shared_experts": 3}),
    "one token chosen": ("glm-5.2", {"index_topk": 1, "index_n_heads": 9, "attention_bias": True}),
    "more chosen than there are": ("deepseek-v3.2", {"index_topk": 40, "tie_word_embeddings": True}),
    "a pattern of letters": (
        "glm-5.2",
        {"indexer_types": None, "index_topk_freq": None, "index_topk_pattern": "FSSFFS", "index_topk": 5},
    ),
    "no YaRN": ("deepseek-v2", {"rope_scaling": None}),
    "YaRN as in the paper": ("deepseek-v2", {"rope_scaling": YARN}),
    "two temperatures": ("deepseek-v2", {"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.6}}),
    "a window in all layers but one": (
        "gpt-oss",
        {"layer_types": ["sliding_attention"] * 3 + ["full_attention"], "sliding_window": 5, "attention_bias": False},
    ),
    "no window, no YaRN": (
        "gpt-oss",
        {"layer_types": ["full_attention"] * 4, "rope_scaling": {"rope_type": "default"}},
    ),
    "plain MLPs between experts": ("qwen3-next", {"decoder_sparse_step": 2, "intermediate_size": 80}),
    "biases, and all channels rotate": (
        "qwen3-next",
        {"attention_bias": True, "partial_rotary_factor": 1.0, "norm_topk_prob": False, "full_attention_interval": 2},
    ),
    "as many keys as values, a short convolution": (
        "qwen3.5",
        {"linear_num_key_heads": 6, "linear_conv_kernel_dim": 2, "tie_word_embeddings": True},
    ),
    "attention first": (
        "qwen3.5-moe",
        {"layer_types": ["full_attention", "linear_attention"] * 2, "attention_bias": True},
    ),
    "no shared keys, an MLP for each layer": (
        "gemma3n-text",
        {"num_kv_shared_layers": 0, "intermediate_size": [96, 80, 64, 96, 48, 32]},
    ),
    "three layers share keys, two streams": (
        "gemma3n-text",
        {"num_kv_shared_layers": 3, "altup_num_inputs": 2, "vocab_size_per_layer_input": 90, "sliding_window": 5},
    ),
    "linear": ("deepseek-v2-lite", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
}


@pytest.mark.parametrize("name", VARIED)
@torch.inference_mode()
def test_other_settings_equal_the_reference(maker: ModuleType, name: str, tmp_path: Path) -> None:
    reference = make(maker, *VARIED[name], tmp_path)
    model = zoo.load(tmp_path)
    with maker.F64():
        expected = reference(TOKENS).logits
    close(model(TOKENS), expected, 1e-9)
    cache = model.new_cache(2, 30)
    close(torch.cat([model(t, cache=cache) for t in TOKENS.split(1, 1)], 1), expected, 1e-9)


@pytest.mark.parametrize("name", EXPORTED)
@torch.inference_mode()
def test_the_reference_reads_what_is_exported(maker: ModuleType, name: str, tmp_path: Path) -> None:
    import transformers

    reference = make(maker, name, {}, tmp_path / "in")
    zoo.save(zoo.load(tmp_path / "in", dtype="float32"), tmp_path / "out")
    keys = {"attn_implementation": "eager", "experts_implementation": "eager", "output_loading_info": True}
    back, info = getattr(transformers, type(reference).__name__).from_pretrained(tmp_path / "out", **keys)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    close(back(TOKENS).logits, reference.float()(TOKENS).logits, 1e-4)
