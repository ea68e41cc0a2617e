"""Decoders against transformers, from the checkpoint's files to logits, cache, padding, greedy text and back to files.

float64 logits are held to 1e-9: both sides compute in float64 and differ by the order of sums only (measured 1e-14).
float32 logits are held to 1e-4 of logits whose std is about 1.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.reference.conftest import Case, over
from tests.reference.more import CONFIGS
from zoo.nn import hidden_states

pytestmark = pytest.mark.slow

cases = over(
    *"llama1 llama2 llama3 llama3.1 llama3.2 llama-linear llama-dynamic llama-yarn gpt2 mistral mistral-nemo mixtral "
    "gemma1 gemma2 gemma3-text gemma3-text-linear bloom qwen2 qwen2-sliding qwen2-yarn qwen2-moe qwen3 qwen3-moe "
    "deepseek-v2 deepseek-v2-lite deepseek-v3 glm glm4 glm4-moe".split(),
    more=(
        "gpt-oss",
        "llama4",
        "qwen3-next",
        "qwen3.5",
        "qwen3.5-moe",
        "gemma3n-text",
        "gemma4-text",
        "gemma4-moe",
        *CONFIGS,
    ),
)


def close(found: torch.Tensor, expected: torch.Tensor, limit: float) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected.double()).abs().max().item() < limit


@cases
@torch.inference_mode()
def test_logits_and_hidden_states_equal_the_reference(case: Case) -> None:
    tokens = case.inputs["input_ids"]
    close(case.model(tokens), case.expected["logits"], 1e-9)
    if "hidden_states" in case.expected:
        states = hidden_states(case.model, tokens)
        if states[0].dim() == 4:  # streams, which the reference has first, and never those behind the final norm
            states = [x.movedim(-2, 0) for x in states[:-1]]
        else:
            del states[-2]  # the reference keeps the last layer's output only after the final norm
        close(torch.stack(states), case.expected["hidden_states"], 1e-9)


# The norm behind a delta net divides what may be near 0: measured 2.7e-4, and transformers' own float32 is 1.7e-4 off.
WIDE = {"qwen3.5-moe": 5e-4}


@cases
@torch.inference_mode()
def test_float32_logits_equal_the_reference(case: Case) -> None:
    model = zoo.load(case.folder, dtype="float32")
    close(model(case.inputs["input_ids"]), case.expected["logits"], WIDE.get(case.name, 1e-4))


COUNTS_PADDING = {"gpt2"}  # transformers numbers positions through the padding unless its caller gives position_ids


@cases
@torch.inference_mode()
def test_left_padded_rows_equal_the_reference(case: Case) -> None:
    tokens, mask = case.inputs["padded.input_ids"], case.inputs["padded.attention_mask"].bool()
    if case.name in COUNTS_PADDING:  # zoo gives what the rows give unpadded, as transformers' own generate() does
        for row, real in zip(tokens, mask, strict=True):
            alone = case.model(row[real][None])[0]
            close(case.model(tokens, attention_mask=mask)[(tokens == row).all(1)][0][real], alone, 1e-9)
        return
    close(case.model(tokens, attention_mask=mask)[mask], case.expected["padded.logits"][mask], 1e-9)


@cases
@torch.inference_mode()
def test_cached_decoding_equals_the_reference(case: Case) -> None:
    tokens = case.inputs["input_ids"][:, :30]
    cache = case.model.new_cache(2, 30)
    steps = [case.model(tokens[:, :20], cache=cache, last=True)]
    steps += [case.model(tokens[:, t : t + 1], cache=cache) for t in range(20, 30)]
    close(torch.cat(steps, 1), case.expected["decode.logits"], 1e-9)


@cases
@pytest.mark.parametrize(
    ("prefix", "prompt", "steps"), [("generate", "generate", 12), ("generate_padded", "padded", 8)]
)
def test_greedy_text_equals_the_reference(case: Case, prefix: str, prompt: str, steps: int) -> None:
    out = zoo.generate(
        case.model,
        case.inputs[f"{prompt}.input_ids"],
        attention_mask=case.inputs.get(f"{prompt}.attention_mask"),
        max_new_tokens=steps,
        eos_token_id=[],
    )
    expected = case.expected[f"{prefix}.sequences"][:, -steps:]
    assert [list(row) for row in out.new_tokens] == expected.tolist()


@cases
def test_export_gives_the_tensors_back(case: Case, tmp_path: Path) -> None:
    zoo.save(zoo.load(case.folder), tmp_path / "out")
    zoo.inspect(tmp_path / "out").check()
    account = zoo.inspect(case.folder).account
    back = load_file(tmp_path / "out" / "model.safetensors")
    spelt = {actual: name for name, actual in account.actual.items()}
    kept = [name for name in case.stored if name not in account.ignored and name not in account.tied]
    assert {spelt[name] for name in kept} == set(back)
    for name in kept:
        stored = case.stored[name]
        assert stored.dtype == back[spelt[name]].dtype
        assert torch.equal(stored.view(torch.uint8), back[spelt[name]].view(torch.uint8)), name


@cases
def test_config_survives_the_round_trip(case: Case, tmp_path: Path) -> None:
    ledger = zoo.inspect(case.folder)
    zoo.save(zoo.load(case.folder), tmp_path / "out")
    assert zoo.inspect(tmp_path / "out").config == ledger.config
