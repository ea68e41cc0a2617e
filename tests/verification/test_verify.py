"""What a verification measures, and what it cannot do."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from tests.verification.seeded import right
from zoo.errors import UsageError, ZooError
from zoo.nn import Rope
from zoo.registry import installed
from zoo.verification.bounds import LIMITS
from zoo.verification.comparing import compare_outputs
from zoo.verification.divergence import first_divergence, gap
from zoo.verification.inputs import inputs_for
from zoo.verification.names import resolve
from zoo.verification.recording import Side, View, leaves, stacks
from zoo.verification.reference import transformers_side, zoo_side

torch.set_num_threads(1)


def model_of(family: str) -> nn.Module:
    return right(installed()[family].config_class.tiny())


def test_the_numbers_are_those_of_the_definitions() -> None:
    """Two tokens of three: KL and agreement by hand."""
    theirs = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]], dtype=torch.float64)
    ours = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]], dtype=torch.float64)
    logits, kl, same = compare_outputs({"logits": ours}, {"logits": theirs}, 1e-9)
    unit = (4 / 6) ** 0.5
    assert (logits.max, logits.mean) == pytest.approx((2 / unit, 4 / 6 / unit))
    p = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64).softmax(0)
    assert kl.max == pytest.approx(2 * (p[0] - p[1]).item())  # p log(p/q) where only two logits change places
    assert kl.mean == pytest.approx((p[0] - p[1]).item())
    assert same.said == "1/2 agree"
    assert not any(measure.is_ok for measure in (logits, kl, same))


def test_a_tie_of_the_two_likeliest_tokens_may_fall_either_way() -> None:
    theirs = torch.tensor([[[1.0, 1.0 + 1e-12, 0.0]]], dtype=torch.float64)
    ours = torch.tensor([[[1.0 + 1e-12, 1.0, 0.0]]], dtype=torch.float64)
    *_, same = compare_outputs({"logits": ours}, {"logits": theirs}, 1e-9)
    assert same.said == "0/1 agree, 1 more are ties"
    assert same.is_ok
    theirs[0, 0, 1], ours[0, 0, 0] = 1.0 + 1e-7, 1.0 + 1e-7  # further apart than rounding brings them
    *_, same = compare_outputs({"logits": ours}, {"logits": theirs}, 1e-9)
    assert same.said == "0/1 agree"
    assert not same.is_ok


def test_NaN_is_as_wrong_as_can_be() -> None:
    assert gap(torch.tensor([[float("nan")]]), torch.ones(1, 1)) == float("inf")


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinity_on_either_side_is_as_wrong_and_is_blamed(value: float) -> None:
    finite, infinite = torch.ones(1, 1, 2), torch.tensor([[[1.0, value]]])
    assert gap(finite, infinite) == gap(infinite, finite) == float("inf")
    found = first_divergence({("logits", "output"): finite}, {("logits", "output"): infinite}, 1e-9)
    assert found is not None


def test_events_that_agree_are_passed_over_and_the_first_that_differs_is_blamed() -> None:
    x = torch.ones(1, 3, 2)
    y = x.clone()
    y[0, 2, 1] = 2
    ours = {("embed", "out"): x, ("layers.0.attn.q_proj", "out"): x, ("layers.0.attn.o_proj", "in"): y}
    found = first_divergence(ours, {event: x for event in ours}, 1e-9)
    assert found is not None
    assert (found.place, found.before, found.position) == ("layers.0.attn", "layers.0.attn.q_proj", 2)
    assert first_divergence(ours, ours, 1e-9) is None


def test_names_are_found_with_a_prefix_more_or_less() -> None:
    modules = ["model.language_model.layers.0.self_attn.q_proj", "model.visual.blocks.0", "encoder.layer.1.attention"]
    assert resolve("model.layers.0.self_attn.q_proj", modules) == modules[0]
    assert resolve("bert.encoder.layer.1.attention", modules) == modules[2]
    assert resolve("model.layers.0.self_attn.k_proj", modules) is None
    assert resolve("x.0", ["a.x.0", "b.x.0"]) is None


EVERY_KIND = ["llama", "bert", "t5", "vit", "clip", "mistral", "gemma3_vl"]


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.slow if f in ("mistral", "gemma3_vl") else []) for f in EVERY_KIND]
)
def test_every_kind_of_model_is_given_what_it_reads(family: str) -> None:
    model = model_of(family)
    result = zoo.verify(model, against=copy.deepcopy(model))
    assert result.passed
    assert result.layers
    assert set(result.layers.values()) == {0.0}
    cached = [m for m in result.measures if m.name == "cached = full"]
    assert bool(cached) == hasattr(model, "new_cache")


def test_texts_reach_beyond_a_window_and_not_beyond_the_context() -> None:
    assert inputs_for(model_of("mistral")).given["tokens"].shape[1] > 2 * 5
    assert inputs_for(model_of("bert")).given["tokens"].shape[1] == 50
    short = inputs_for(model_of("mistral"), length=5)
    assert short.given["tokens"].shape == (2, 5)
    assert "too short for the window of 5" in short.what


@pytest.mark.parametrize("dtype", ["float64", *(pytest.param(d, marks=pytest.mark.slow) for d in list(LIMITS)[1:])])
def test_each_dtype_has_a_limit_that_rounding_keeps_and_a_mistake_does_not(dtype: str, tmp_path: Path) -> None:
    """Against itself with sums taken in another order: the halves of the MLP's width exchanged."""
    model = model_of("llama").to(getattr(torch, dtype))
    other = copy.deepcopy(model)
    with torch.no_grad():
        for layer in other.layers:
            order = torch.arange(40).roll(20)
            for proj in (layer.mlp.gate_proj, layer.mlp.up_proj):
                proj.weight.copy_(proj.weight[order].clone())
            layer.mlp.down_proj.weight.copy_(layer.mlp.down_proj.weight[:, order].clone())
    result = zoo.verify(other, against=model)
    assert result.measures[0].is_ok, result
    attn = other.layers[1].attn
    attn.rope = Rope(attn.head_dim, other.config.rope, 64, is_interleaved=True)
    result = zoo.verify(other, against=model)
    assert not result.measures[0].is_ok, result


def test_a_cache_that_gives_other_numbers_fails() -> None:
    model = model_of("llama")
    other = copy.deepcopy(model)
    attn = other.layers[1].attn
    whole = attn.forward
    attn.forward = lambda x, span, cache=None: whole(x, span, cache) * (1.0 if cache is None else 1.001)
    result = zoo.verify(other, against=model)
    assert [m.name for m in result.measures if not m.is_ok] == ["cached = full"]
    assert not result.passed


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="without a checkpoint"):
        zoo.verify(model_of("llama"))
    with pytest.raises(UsageError, match="nothing to compare: one side gives logits, the other hidden"):
        compare_outputs({"logits": torch.ones(1, 2, 3)}, {"hidden": torch.ones(1, 2, 3)}, 1e-9)
    with pytest.raises(UsageError, match="the dtype asked for is float16"):
        zoo.verify(model_of("llama"), against=model_of("llama"), dtype="float16")
    with pytest.raises(ZooError, match="neither a folder, a file nor a preset"):
        zoo.verify("nowhere-at-all")


def test_the_answer_comes_in_words_in_json_and_as_html() -> None:
    model = model_of("gpt2")
    result = zoo.verify(model, against=copy.deepcopy(model))
    assert "the same." in result.table() == str(result)
    assert len({len(line) for line in result.table().splitlines() if line.endswith("  ok")}) == 1  # aligned
    assert result.to_dict()["passed"] is True
    assert result.html() == result._repr_html_()
    assert result.html().startswith("<div style=")
    assert "<script" not in result.html()


def test_a_reference_that_sees_less_is_compared_where_it_sees() -> None:
    """Without views of the layers only outputs are compared; nothing is blamed that was not seen to agree before."""
    model = model_of("llama")
    inputs = inputs_for(model)
    side = zoo_side(model, inputs, "itself")
    blind = Side("outputs alone", side.run, {"norm": View(model.norm)}, lambda name: None)
    events = blind.record(["norm", "layers.0"])
    assert set(events) == {("norm", "in"), ("norm", "out"), ("logits", "output")}


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(installed().families))
def test_modules_of_transformers_are_taken_for_the_right_ones_of_ours(family: str, tmp_path: Path) -> None:
    """Where outputs agree, so must everything on the way: a module that is taken for another's would differ."""
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    config = installed()[family].config_class.tiny()
    if family.startswith("gemma") and hasattr(config, "attn_softcap"):
        config = replace(config, attn_softcap=None)  # see docs/deviations.md
    if "hf" not in installed()[family].formats:
        pytest.skip("it has no hf format")
    zoo.save(right(config), tmp_path / "model")
    model = zoo.load(tmp_path / "model", dtype="float64")
    inputs = inputs_for(model)
    if family in ("chatglm", "chatglm2", "qwen", "qwen_vl", "baichuan", "exaone", "internlm2", "minicpm"):
        with pytest.raises(ZooError, match=r"it has no class for this model|does not recognize this architecture"):
            transformers_side(model, model.ledger, inputs, torch.float64)
        return
    theirs, _ = transformers_side(model, model.ledger, inputs, torch.float64)
    names = [*leaves(model), *stacks(model)]
    mine, other = zoo_side(model, inputs, "").record(names), theirs.exactly().record(names)
    gaps = {event: gap(x, other[event]) for event, x in mine.items() if event in other}
    seen = {event: worst for event, worst in gaps.items() if worst is not None}
    assert max(seen.values()) < 1e-9, max(seen, key=seen.__getitem__)
    if family == "gemma3n":  # what leaves its layers are streams, which stand in another order there
        return
    layers = {name for name in stacks(model) if (name, "out") in mine}
    if family in ("deberta", "mpnet"):  # theirs have the convolution and the table of distances beside the layers
        layers.discard("layers.0")
    assert {name for name, direction in seen if direction == "out"} >= layers
