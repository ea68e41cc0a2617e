"""ChatGLM-6B against the numbers of the code released with it.

The numbers were made in float64 and stored as float32, so that 1e-6 of logits whose std is about 1 is what they bear.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from tests.some import one_in
from zoo.nn import causal, hidden_states

torch.set_num_threads(1)

VARIANTS = {  # prefix of the stored numbers -> how the model differs from the released code's
    "": [],
    "exact_invfreq.": ["model.has_half_frequencies=false"],
    "alpha_num_layers.": ["model.residual_layers=3"],
    "alpha_num_layers_exact_invfreq.": ["model.residual_layers=3", "model.has_half_frequencies=false"],
}
CASES = ("gmask_end", "gmask_middle", "mask_middle", "both")


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "golden" / "chatglm-6b-3l"


@pytest.fixture(scope="module")
def inputs(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "inputs.safetensors")


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "expected.safetensors")


@pytest.fixture(scope="module")
def models(folder: Path):
    return {name: zoo.load(folder, *words, dtype="float64") for name, words in VARIANTS.items()}


def gap(found: Tensor, stored: Tensor) -> float:
    assert found.shape == stored.shape
    return (found - stored.double()).abs().max().item()


def padding(inputs: dict[str, Tensor]) -> Tensor:
    """The real tokens [B, T] of the padded batch: those that its last query may see."""
    return ~inputs["batch.attention_mask"][:, 0, -1]


@pytest.mark.parametrize("variant", one_in(2, VARIANTS))
@pytest.mark.parametrize("case", one_in(2, CASES))
@torch.inference_mode()
def test_logits_equal_the_released_codes(models, inputs, expected, case: str, variant: str) -> None:
    assert gap(models[variant](inputs[f"{case}.input_ids"]), expected[f"{variant}{case}.logits"]) < 1e-6


@pytest.mark.parametrize("name", [k for v in ("", "alpha_num_layers.") for k in (f"{v}gmask_end", f"{v}gmask_middle")])
@torch.inference_mode()
def test_hidden_states_equal_the_released_codes(models, inputs, expected, name: str) -> None:
    variant, _, case = name.rpartition(".")
    states = hidden_states(models[f"{variant}." if variant else ""], inputs[f"{case}.input_ids"])
    del states[-2]  # the reference keeps the last layer's output only after the final norm
    assert gap(torch.stack(states), expected[f"{name}.hidden_states"]) < 1e-6


@pytest.mark.parametrize("variant", ["", "alpha_num_layers."])
@torch.inference_mode()
def test_keys_and_values_equal_the_released_codes(models, inputs, expected, variant: str) -> None:
    tokens = inputs["gmask_middle.input_ids"]
    cache = models[variant].new_cache(1, tokens.shape[1])
    models[variant](tokens, cache=cache)
    assert gap(cache.layers[1].k, expected[f"{variant}gmask_middle.key.layer1"]) < 1e-6
    assert gap(cache.layers[1].v, expected[f"{variant}gmask_middle.value.layer1"]) < 1e-6


@pytest.mark.parametrize("case", [*CASES, "batch"])
@torch.inference_mode()
def test_positions_and_masks_follow_from_the_tokens(models, inputs, case: str) -> None:
    model, tokens = models[""], inputs[f"{case}.input_ids"]
    mask = padding(inputs) if case == "batch" else None
    spans: list = []
    model.layers[0].register_forward_pre_hook(lambda _, args: spans.append(args[1]))
    model(tokens, attention_mask=mask)
    span, real = spans[0], torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    numbers = span.rotary_positions.transpose(1, 2)
    stored = inputs[f"{case}.position_ids"]
    assert torch.equal(numbers.masked_fill(~real[:, None], 0), stored.masked_fill(~real[:, None], 0))
    seen = span.allowed(causal)
    assert torch.equal(seen[real], ~inputs[f"{case}.attention_mask"][:, 0][real])


@pytest.mark.parametrize("variant", VARIANTS)
@torch.inference_mode()
def test_left_padded_rows_equal_the_released_codes(models, inputs, expected, variant: str) -> None:
    mask = padding(inputs)
    found = models[variant](inputs["batch.input_ids"], attention_mask=mask)
    assert gap(found[mask], expected[f"{variant}batch.logits"][mask]) < 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", ["decode", "batch"])
@torch.inference_mode()
def test_cached_steps_equal_the_released_codes(models, inputs, expected, case: str, variant: str) -> None:
    model, prompt = models[variant], inputs[f"{case}.input_ids"]
    stored = expected[f"{variant}{case}.{'decode_' if case == 'batch' else ''}logits"]
    text, steps = expected[f"{variant}{case}.generated_ids"], stored.shape[1]
    cache = model.new_cache(len(prompt), text.shape[1])
    mask = padding(inputs) if case == "batch" else None
    spans: list = []
    hook = model.layers[0].register_forward_pre_hook(lambda _, args: spans.append(args[1]))
    found = [model(prompt, attention_mask=mask, cache=cache, last=True)]
    for t in range(prompt.shape[1], prompt.shape[1] + steps - 1):
        found.append(model(text[:, t : t + 1], cache=cache))
    hook.remove()
    assert gap(torch.cat(found, 1), stored) < 1e-6
    numbers = torch.cat([span.rotary_positions[:, -1:].expand(len(prompt), -1, -1) for span in spans], 1).mT
    fed = expected[f"{variant}{case}.{'decode_' if case == 'batch' else ''}position_ids"]
    assert torch.equal(numbers, fed)


@pytest.mark.parametrize("case", ["decode", "batch"])
@torch.inference_mode()
def test_greedy_text_equals_the_released_codes(models, inputs, expected, case: str) -> None:
    prompt, text = inputs[f"{case}.input_ids"], expected[f"{case}.generated_ids"]
    mask = padding(inputs) if case == "batch" else None
    steps = text.shape[1] - prompt.shape[1]
    out = zoo.generate(models[""], prompt, attention_mask=mask, max_new_tokens=steps, eos_token_id=[])
    assert [list(row) for row in out.new_tokens] == text[:, -steps:].tolist()


@torch.inference_mode()
def test_positions_may_be_given(models, inputs, expected) -> None:
    tokens, positions = inputs["mask_middle.input_ids"], inputs["mask_middle.position_ids"]
    assert gap(models[""](tokens, positions=positions), expected["mask_middle.logits"]) < 1e-6
    assert gap(models[""](tokens, positions=positions + 1), expected["mask_middle.logits"]) < 1e-6  # they are relative
    assert gap(models[""](tokens, positions=positions * 2), expected["mask_middle.logits"]) > 1e-3


@torch.inference_mode()
def test_exported_files_hold_the_same_tensors(folder: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load(folder), tmp_path / "out")
    assert zoo.inspect(tmp_path / "out").config == zoo.inspect(folder).config
    stored, back = load_file(folder / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert {name for name in stored if not name.endswith("inv_freq")} == set(back)
    assert all(torch.equal(stored[name], back[name]) for name in back)
