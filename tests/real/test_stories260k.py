"""A trained LLaMA of 260,000 parameters (karpathy/tinyllamas, MIT) tells the story that llama2.c's own test expects.

The expectations are float64, computed by transformers 5.23 and stored as float32; zoo computes in float64 here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo

DATA = Path(__file__).parent / "data" / "stories260k.safetensors"


@pytest.fixture(scope="module")
def model(shared: Path) -> nn.Module:
    return zoo.load(shared / "golden" / "stories260K", dtype="float64")


@pytest.fixture(scope="module")
def numbers() -> dict[str, Tensor]:
    """The model's own first 200 tokens, and what the reference computes from them; `logits` of every 8th of 64."""
    return load_file(DATA)


def test_every_tensor_is_loaded_and_the_head_is_tied(model: nn.Module) -> None:
    assert sum(p.numel() for p in model.parameters()) == 260_032
    assert len(model.ledger.account.loaded) == len(model.ledger.checkpoint.tensors)


@torch.inference_mode()
def test_logits_equal_the_reference(model: nn.Module, numbers: dict[str, Tensor]) -> None:
    logits = model(numbers["input_ids"][:, :64].long())[:, ::8]
    torch.testing.assert_close(logits, numbers["logits"].double(), rtol=0, atol=2e-6)  # half a float32 ulp of 20


@torch.inference_mode()
def test_perplexity_equals_the_reference(model: nn.Module, numbers: dict[str, Tensor]) -> None:
    tokens = numbers["input_ids"].long()
    nll = nn.functional.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:], reduction="none")
    torch.testing.assert_close(nll, numbers["nll"].double(), rtol=0, atol=2e-6)
    assert nll.mean().exp().item() == pytest.approx(numbers["nll"].double().mean().exp().item(), abs=1e-6)


def test_greedy_text_is_the_reference_to_the_last_token(model: nn.Module, numbers: dict[str, Tensor]) -> None:
    out = zoo.generate(model, numbers["prompt_ids"].long(), max_new_tokens=60, eos_token_id=[])
    assert [1, *out.new_tokens[0]] == numbers["generated_ids"][0].tolist()
