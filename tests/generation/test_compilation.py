"""A compiled step says what the step says, and is compiled once for all lengths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import UsageError
from zoo.generation import generate
from zoo.generation.compilation import CompiledReader, compile_seconds
from zoo.models.construction import build
from zoo.registry import installed

from .models import TableModel


@pytest.fixture
def model() -> nn.Module:
    """One layer with a window of 5, whose ring turns in longer texts."""
    tiny = installed()["mistral"].config_class.tiny()
    config = replace(tiny, num_layers=1, sliding_window=5, eos_token_id=[])
    model = build(config, device="cpu", dtype="float64").eval()  # float64: no tie is broken by rounding
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


@pytest.mark.slow
@pytest.mark.long
def test_one_graph_serves_all_lengths_and_one_more_all_numbers_of_rows(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    def told(prompts: Any, count: int, **settings: Any) -> float:
        """Whether the ids are those without, and seconds of compiling."""
        plain = generate(model, prompts, max_new_tokens=count, **settings)
        found = generate(model, prompts, max_new_tokens=count, compile=True, **settings)
        assert found.new_tokens == plain.new_tokens
        assert plain.compile_seconds is None
        assert found.compile_seconds is not None
        return found.compile_seconds

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    counters.clear()
    assert told([3, 4, 5], 4) > 0
    assert counters["stats"]["unique_graphs"] == 1
    for prompt, count in (([3], 9), ([3, 4, 5, 6, 7, 8, 9], 20), ([3] * 40, 3), ([3, 4], 30)):  # across the window
        assert told(prompt, count) == 0
    assert told([3, 4, 5], 9, temperature=1.0, seed=1, repetition_penalty=1.2) == 0
    assert counters["stats"]["unique_graphs"] == 1
    first = told([[3, 4, 5], [6, 7, 8]], 9)
    for prompts, count in (([[3] * 9] * 5, 3), ([[4] * 3] * 3, 20)):
        assert told(prompts, count) == 0
    assert told([3, 4, 5], 9, num_beams=4) == 0
    assert counters["stats"]["unique_graphs"] == 2
    assert first > 0
    torch._dynamo.reset()  # as another process begins: what was compiled is found in the files
    assert told([3, 4, 5], 4) > 0
    assert counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"] >= 1


@pytest.mark.slow
def test_without_a_compiler_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"compile=True needs a C\+\+ compiler, and .* is not on the PATH"):
        generate(TableModel(), [3], max_new_tokens=3, compile=True)


def test_a_draft_is_not_compiled() -> None:
    with pytest.raises(UsageError, match="compile=True and a draft do not go together"):
        generate(TableModel(), [3], max_new_tokens=3, compile=True, draft="ngram")


@pytest.mark.slow
@pytest.mark.long
def test_whole_windows_are_compiled_for_all_lengths() -> None:
    """As perplexity reads them: several windows at once, the last of them shorter."""
    from torch._dynamo.utils import counters

    config = replace(installed()["llama"].config_class.tiny(), num_layers=1)
    model: Any = build(config, device="cpu", dtype="float64").eval()
    reader = CompiledReader(model, model)
    torch._dynamo.reset()
    counters.clear()
    with torch.inference_mode():
        for shape in ((2, 9), (3, 5), (4, 30)):
            tokens = torch.randint(model.config.vocab_size, shape)
            assert (reader(tokens) - model(tokens)).abs().max() < 1e-12  # float64 sums in another order
    assert counters["stats"]["unique_graphs"] == 1
    assert compile_seconds(model) == reader.seconds > 0
    assert CompiledReader(model, model).seconds == 0
    assert compile_seconds(nn.Linear(1, 1)) is None
