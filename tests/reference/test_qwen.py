"""Qwen 2 and 3 against transformers: what every decoder is held to, and variants of the config beside the released."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import zoo
from tests.reference import test_causal as causal
from tests.reference.conftest import VARIANTS, Case

pytestmark = pytest.mark.slow

NAMES = ("qwen2", "qwen2-sliding", "qwen2-yarn", "qwen2-moe", "qwen3", "qwen3-moe")

cases = pytest.mark.parametrize(
    "case", [(n, v) for n in NAMES for v in VARIANTS], indirect=True, ids=lambda nv: f"{nv[0]}-{nv[1]}"
)


@cases
def test_logits_and_hidden_states_equal_the_reference(case: Case) -> None:
    causal.test_logits_and_hidden_states_equal_the_reference(case)


@cases
def test_float32_logits_equal_the_reference(case: Case) -> None:
    causal.test_float32_logits_equal_the_reference(case)


@cases
def test_left_padded_rows_equal_the_reference(case: Case) -> None:
    causal.test_left_padded_rows_equal_the_reference(case)


@cases
def test_cached_decoding_equals_the_reference(case: Case) -> None:
    causal.test_cached_decoding_equals_the_reference(case)


@cases
@pytest.mark.parametrize(
    ("prefix", "prompt", "steps"), [("generate", "generate", 12), ("generate_padded", "padded", 8)]
)
def test_greedy_text_equals_the_reference(case: Case, prefix: str, prompt: str, steps: int) -> None:
    causal.test_greedy_text_equals_the_reference(case, prefix, prompt, steps)


@cases
def test_export_gives_the_tensors_back(case: Case, tmp_path: Path) -> None:
    causal.test_export_gives_the_tensors_back(case, tmp_path)


@cases
def test_config_survives_the_round_trip(case: Case, tmp_path: Path) -> None:
    causal.test_config_survives_the_round_trip(case, tmp_path)


TOKENS = torch.randint(4, 140, (2, 30), generator=torch.Generator().manual_seed(7))
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
}


@torch.no_grad()
def make(maker: ModuleType, name: str, changes: dict[str, Any], folder: Path) -> Any:
    """A model of transformers in float64 whose config differs from the fixture's, and its checkpoint."""
    model = maker.build(maker.hub_config(name) | changes, torch.float64)
    maker.randomize(model, 0)
    for key, p in model.named_parameters():
        if key.endswith("bias"):
            p.copy_(torch.linspace(-1, 1, p.numel()))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", VARIED)
@torch.inference_mode()
def test_other_settings_equal_the_reference(maker: ModuleType, name: str, tmp_path: Path) -> None:
    reference = make(maker, *VARIED[name], tmp_path)
    model = zoo.load(tmp_path)
    with maker.F64():
        expected = reference(TOKENS).logits
    causal.close(model(TOKENS), expected, 1e-9)
    cache = model.new_cache(2, 30)
    causal.close(torch.cat([model(t, cache=cache) for t in TOKENS.split(1, 1)], 1), expected, 1e-9)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_reference_reads_what_is_exported(maker: ModuleType, name: str, tmp_path: Path) -> None:
    import transformers

    reference = make(maker, name, {}, tmp_path / "in")
    zoo.save(zoo.load(tmp_path / "in", dtype="float32"), tmp_path / "out")
    keys: dict[str, Any] = {"attn_implementation": "eager", "output_loading_info": True}
    if "moe" in name:
        keys["experts_implementation"] = "eager"
    back, info = getattr(transformers, type(reference).__name__).from_pretrained(tmp_path / "out", **keys)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    causal.close(back(TOKENS).logits, reference.float()(TOKENS).logits, 1e-4)
