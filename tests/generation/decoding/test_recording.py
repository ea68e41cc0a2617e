"""A step that reads its places from a tensor says what a step says, and no step makes a GPU wait.

On a CPU a recording runs again what a GPU plays back: the same passes with the same tensors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.kinds import ENCODERS, TOWERS
from tests.some import some
from zoo.errors import UsageError
from zoo.generation import generate, job
from zoo.generation.decoding import recording
from zoo.generation.decoding.loop import Told
from zoo.generation.decoding.recording import RecordedReader, can_record
from zoo.models.construction import build, on_meta
from zoo.registry import installed

KINDS = ("llama", "mistral", "gpt2", "deepseek", "bloom", "qwen", "t5")  # of caches, of positions, and two stacks
SILENT = {*ENCODERS, *TOWERS, "headed"}  # write no text


def model_of(family: str) -> Any:
    tiny = installed()[family].config_class.tiny()
    model = build(replace(tiny, eos_token_id=[]), device="cpu", dtype="float64").eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[RecordedReader]:
    """Those that `compile=True` makes, here of recordings with room for few keys."""
    made: list[RecordedReader] = []

    def recorded(model: Any, owner: Any, how: bool | str) -> Any:
        made.append(RecordedReader(model))
        return made[-1]

    monkeypatch.setattr(job, "compiled", recorded)
    monkeypatch.setattr(recording, "ROOM", 4)
    return made


@pytest.mark.parametrize("family", some(KINDS, "mistral", "t5"))
@pytest.mark.parametrize("prompts", [[3, 4, 5], [[3, 4, 5], [6], [7, 8, 9, 10]]], ids=["alone", "padded"])
def test_recorded_steps_give_the_text_and_the_logits(family: str, prompts: Any, readers: list[RecordedReader]) -> None:
    model = model_of(family)
    plain = generate(model, prompts, max_new_tokens=14, return_logits=True)
    found = generate(model, prompts, max_new_tokens=14, return_logits=True, compile=True)
    assert found.new_tokens == plain.new_tokens
    assert readers[0]._recording is not None
    assert readers[0]._is_possible
    assert plain.logits is not None
    assert found.logits is not None
    for ours, theirs in zip(found.logits, plain.logits, strict=True):
        assert (ours - theirs).abs().max() < 1e-12  # float64, whose softmax is summed over more keys


def test_rows_that_move_between_steps_are_not_recorded(readers: list[RecordedReader]) -> None:
    model = model_of("llama")
    plain = generate(model, [3, 4, 5], max_new_tokens=9, num_beams=3)
    assert generate(model, [3, 4, 5], max_new_tokens=9, num_beams=3, compile=True).tokens == plain.tokens
    assert not readers[0]._is_possible


@pytest.mark.slow
def test_what_keeps_a_state_is_not_recorded(readers: list[RecordedReader]) -> None:
    model = model_of("qwen3_next")
    cache = model.new_cache(1, 20)
    model(torch.tensor([[3, 4]]), cache=cache)
    assert not can_record(cache)
    plain = generate(model, [3, 4, 5], max_new_tokens=5)
    assert generate(model, [3, 4, 5], max_new_tokens=5, compile=True).tokens == plain.tokens


def test_what_compile_may_be_is_said() -> None:
    model = model_of("llama")
    with pytest.raises(UsageError, match="compile='graph' needs a model on cuda, and this is on cpu"):
        generate(model, [3], compile="graph")
    with pytest.raises(UsageError, match="compile='fast' is neither True nor 'graph'"):
        generate(model, [3], compile="fast")


def test_what_a_step_chose_arrives() -> None:
    assert Told(torch.tensor([3, 4]), torch.tensor([[0.5], [2.0]])).lists() == [[3, 4], [[0.5], [2.0]]]


class Waits(TorchDispatchMode):
    """Notes each operation that brings numbers to Python, or takes some from the CPU to where the model is."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1]
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "_unique2", "bincount"):
            self.found.append(name)
        if any(isinstance(t, Tensor) and not t.is_meta and t.dim() for t in tree_leaves((args, kwargs, out))):
            self.found.append(f"{name} with numbers of the CPU")
        return out


@pytest.mark.parametrize("family", some(sorted({*installed().families} - SILENT), "llama", "gemma"))
def test_no_step_waits_or_brings_numbers_from_the_cpu(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = on_meta(installed()[family].config_class.tiny())
    tokens = torch.ones(1, 5, dtype=torch.long, device="meta")
    with torch.inference_mode():
        reader = model.conditioned(tokens) if hasattr(model, "conditioned") else model
        cache = reader.new_cache(1, 20)
        for width in (5, 1):
            reader(tokens[:, :width], cache=cache, last=True)
        with Waits() as waits:
            monkeypatch.setattr(torch, "tensor", lambda *words, **named: waits.found.append("tensor"))
            reader(tokens[:, :1], cache=cache, last=True)
    assert not waits.found
