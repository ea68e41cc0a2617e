"""A compiled step says what the step says, and is compiled once for all lengths."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import UsageError
from zoo.generation import compilation, generate
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


def test_what_a_graph_takes_for_granted_is_seen_to_change(model: Any) -> None:
    """Also a hook in the place of another, which leaves as many."""
    layer = model.layers[0]
    seen = [compilation.state_of(model)]
    for factor in (1.0, -3.0):
        hook = layer.register_forward_hook(lambda _, __, out, factor=factor: out + factor)
        seen.append(compilation.state_of(model))
        hook.remove()
    model.layers[0].attn.scale = 0.3
    seen.append(compilation.state_of(model))
    assert all(a != b for i, a in enumerate(seen) for b in seen[:i])
    assert compilation.state_of(model) == seen[-1]


def test_only_what_a_graph_takes_for_granted_makes_another(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not other numbers in the weights, steps without a graph, or a hook that is gone again."""
    monkeypatch.setattr(compilation, "check_compiler", lambda device: None)
    monkeypatch.setattr(compilation, "_own", lambda function, device: function)

    def used(change: Callable[[], object]) -> bool:
        """Whether what was compiled before is used after a change."""
        before = CompiledReader(model, model)._passes
        change()
        return CompiledReader(model, model)._passes is before

    layer = model.layers[0]
    assert used(lambda: generate(model, [3, 4, 5], max_new_tokens=3))
    assert used(lambda: nn.init.normal_(layer.mlp.up_proj.weight))
    assert used(lambda: model.load_state_dict({name: w + 1 for name, w in model.state_dict().items()}))
    assert used(lambda: layer.register_forward_hook(lambda *_: None).remove())
    assert not used(lambda: setattr(layer.attn_norm, "eps", 0.5))
    assert not used(lambda: layer.register_forward_hook(lambda *_: None))
    assert not used(lambda: setattr(layer, "mlp", copy.deepcopy(layer.mlp)))
    assert not used(model.float)


@pytest.mark.slow
@pytest.mark.long
def test_one_graph_serves_all_lengths_and_one_more_all_numbers_of_rows(
    model: Any,
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
    compilation._compiled.clear()
    counters.clear()
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


@pytest.mark.slow
@pytest.mark.long
def test_padded_rows_are_compiled_where_no_heads_share_keys() -> None:
    """As GPT-2's: nothing in the graph says before the attention that there are as many keys as heads."""
    config = replace(installed()["gpt2"].config_class.tiny(), num_layers=1, eos_token_id=[])
    torch.manual_seed(0)
    model: Any = build(config, device="cpu", dtype="float64").eval()
    torch._dynamo.reset()
    plain, found = (generate(model, [[5, 6, 7, 8], [9, 10]], max_new_tokens=6, compile=c) for c in (False, True))
    assert found.new_tokens == plain.new_tokens
