"""Encoder-decoders against transformers; the limits are those of test_causal.py and for its reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.reference.conftest import Case, over
from tests.reference.test_causal import close

pytestmark = pytest.mark.slow

NAMES = "t5-v1.0 t5-v1.1 mt5 umt5".split()

cases = over(*NAMES)


def inputs(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (case.inputs[name] for name in ("input_ids", "attention_mask", "decoder_input_ids"))


@cases
@torch.inference_mode()
def test_logits_and_encoder_states_equal_the_reference(case: Case) -> None:
    tokens, mask, target = inputs(case)
    close(case.model(tokens, target, attention_mask=mask.bool()), case.expected["logits"], 1e-9)
    states, expected = case.model.encode(tokens, mask).states, case.expected["encoder_last_hidden_state"]
    close(states[mask.bool()], expected[mask.bool()], 1e-9)


@cases
@torch.inference_mode()
def test_float32_logits_equal_the_reference(case: Case) -> None:
    tokens, mask, target = inputs(case)
    model = zoo.load(case.folder, dtype="float32")
    close(model(tokens, target, attention_mask=mask), case.expected["logits"], 1e-4)


@cases
@torch.inference_mode()
def test_cached_decoding_equals_the_reference(case: Case) -> None:
    tokens, mask, target = inputs(case)
    memory = case.model.encode(tokens, mask)
    cache = case.model.new_cache(2, target.shape[1], memory)
    steps = [case.model.decode(target[:, t : t + 1], memory, cache=cache) for t in range(target.shape[1])]
    close(torch.cat(steps, 1), case.expected["decode.logits"], 1e-9)


@cases
@torch.inference_mode()
def test_greedy_text_equals_the_reference(case: Case) -> None:
    tokens, mask, _ = inputs(case)
    start = [[case.model.config.decoder_start_token_id]] * 2
    out = zoo.generate(case.model.conditioned(tokens, mask), start, max_new_tokens=10, eos_token_id=[])
    assert out.tokens == case.expected["generate.sequences"].tolist()


@cases
def test_export_gives_the_tensors_back(case: Case, tmp_path: Path) -> None:
    model = zoo.load(case.folder)
    zoo.save(model, tmp_path / "out")
    assert zoo.inspect(tmp_path / "out").config == model.config
    account = model.ledger.account
    back = load_file(tmp_path / "out" / "model.safetensors")
    kept = [name for name in case.stored if name not in account.ignored and name not in account.tied]
    assert set(kept) == set(back)
    for name in kept:
        assert torch.equal(case.stored[name].view(torch.uint8), back[name].view(torch.uint8)), name
