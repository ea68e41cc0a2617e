"""DeepSeek against transformers: what every decoder is held to, and the multi-token prediction modules."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.reference import test_causal as causal
from tests.reference.conftest import VARIANTS, Case
from zoo.models.construction import default_dtype

pytestmark = pytest.mark.slow

NAMES = ("deepseek-v2", "deepseek-v2-lite", "deepseek-v3")
TOKENS = torch.randint(4, 140, (2, 30), generator=torch.Generator().manual_seed(7))
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}

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


VARIED: dict[str, tuple[str, dict[str, Any]]] = {
    "biases": ("deepseek-v3", {"attention_bias": True}),
    "queries unsqueezed": ("deepseek-v3", {"q_lora_rank": None}),
    "halves rotate": ("deepseek-v3", {"rope_interleave": False}),
    "one group": ("deepseek-v3", {"n_group": 1, "topk_group": 1}),
    "weights as they are": ("deepseek-v3", {"norm_topk_prob": False}),
    "no dense layer": ("deepseek-v3", {"first_k_dense_replace": 0, "n_shared_experts": 3}),
    "no YaRN": ("deepseek-v2", {"rope_scaling": None}),
    "YaRN as in the paper": ("deepseek-v2", {"rope_scaling": YARN}),
    "two temperatures": ("deepseek-v2", {"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.6}}),
    "linear": ("deepseek-v2-lite", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
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


@torch.inference_mode()
def test_prediction_modules_equal_the_reference(maker: ModuleType, tmp_path: Path) -> None:
    """Two in a row, each going on from the states that the one before has normed."""
    from transformers.modeling_layers import MtpModel

    main = make(maker, "deepseek-v3", {"num_nextn_predict_layers": 2}, tmp_path)
    with default_dtype(torch.float64), maker.F64():
        modules = MtpModel(main, 2).eval()
    maker.randomize(modules, 1)  # also embedding and head, which are the main model's
    main.save_pretrained(tmp_path)
    save_file(load_file(tmp_path / "model.safetensors") | on_disk(modules), tmp_path / "model.safetensors")
    found = zoo.load(tmp_path, "model.num_mtp_layers=2").predict_ahead(TOKENS)
    with maker.F64():
        x = main.model(TOKENS).last_hidden_state
        for k in range(2):
            positions = torch.arange(k + 1, TOKENS.shape[1]).expand(2, -1)
            x = modules.forward_layer(k, x[:, :-1], positions, None, input_ids=TOKENS[:, k + 1 :])
            causal.close(found[k], main.lm_head(x), 1e-9)


def on_disk(modules: Any) -> dict[str, torch.Tensor]:
    """Tensors of the reference's modules under the hub's names, experts stacked; the fixture has 3 layers."""
    found = {}
    for name, x in modules.state_dict().items():
        if name.startswith("layers."):
            _, k, rest = name.split(".", 2)
            rest = rest.removeprefix("mtp_block.").replace("post_norm", "shared_head.norm")
            found[f"model.layers.{3 + int(k)}.{rest}"] = x.clone()
    return found


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_reference_reads_what_is_exported(maker: ModuleType, name: str, tmp_path: Path) -> None:
    import transformers

    reference = make(maker, name, {}, tmp_path / "in")
    zoo.save(zoo.load(tmp_path / "in", dtype="float32"), tmp_path / "out")
    keys = {"attn_implementation": "eager", "experts_implementation": "eager", "output_loading_info": True}
    back, info = getattr(transformers, type(reference).__name__).from_pretrained(tmp_path / "out", **keys)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    causal.close(back(TOKENS).logits, reference.float()(TOKENS).logits, 1e-4)
