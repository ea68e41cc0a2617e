"""How two outputs are compared, how weights are edited meanwhile, and what the answer says."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from zoo.verification.bounds import GIVEN, Limit
from zoo.verification.comparing import Measure, _next_tokens, compare_outputs, exact_outputs, worst_gap
from zoo.verification.diagnosis import Explanation
from zoo.verification.divergence import Divergence, _aligned, _position, _shared, first_divergence, gap, largest_gap
from zoo.verification.edits import acting, reweighting, scaling_output, setting, together
from zoo.verification.exact import Float64
from zoo.verification.noise import Noise
from zoo.verification.result import Verification, _in_words

# differences and what is said of them


def test_shapes_are_aligned_where_they_mean_the_same() -> None:
    x = torch.arange(24.0)
    heads = x.view(1, 2, 3, 4)
    assert torch.equal(_aligned(heads, torch.Size((1, 3, 2, 4))), heads.transpose(1, 2))  # type: ignore[arg-type]
    assert _aligned(heads, torch.Size((1, 4, 3, 2))) is None
    assert _aligned(x.view(6, 4), torch.Size((2, 3, 4))).shape == (2, 3, 4)  # type: ignore[union-attr]
    assert _aligned(x.view(2, 3, 4), torch.Size((6, 4))).shape == (6, 4)  # type: ignore[union-attr]
    for shape in ((4, 6), (24,), (2, 3, 2, 2)):
        assert _aligned(x.view(6, 4), torch.Size(shape)) is None
    assert gap(x.view(6, 4), x) is None
    assert gap(torch.zeros(0), torch.zeros(0)) == 0.0
    assert gap(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.0])) == 4.0
    assert gap(torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0])) == pytest.approx(4 / 12.5**0.5)


def test_the_position_is_the_first_token_at_which_a_row_differs() -> None:
    theirs_ = torch.ones(2, 4, 3)
    ours_ = theirs_.clone()
    ours_[1, 2, 0] += 0.5
    ours_[0, 3, 1] += 0.5
    assert _position(ours_, theirs_, 0.4) == 2
    assert _position(ours_, theirs_, 0.6) is None
    assert _position(ours_[0], theirs_[0], 0.4) is None
    assert _position(ours_, theirs_.view(8, 3), 0.4) == 2
    events = {("a", "out"): theirs_, ("b", "in"): ours_}
    found = first_divergence(events, {**events, ("b", "in"): theirs_}, 0.1)
    assert found is not None
    assert (found.place, found.event, found.before, found.gap, found.position) == ("", ("b", "in"), "a", 0.5, 2)
    assert largest_gap(events, {**events, ("b", "in"): theirs_}) == 0.5
    assert largest_gap(events, {}) == 0.0
    assert (_shared("l.0.a", "l.0.b"), _shared("l.0", "l.1"), _shared("l.0.a", "l.1.b"), _shared("a", "b")) == (
        "l.0",
        "",
        "",
        "",
    )
    assert "from position 2 on" in str(found)
    assert "after a and before b" in str(found)
    assert str(replace(found, event=("logits", "output"))).startswith("outside the layers, after a: the logits")
    assert "the input" in str(replace(found, before=""))
    assert "position" not in str(replace(found, position=None, place="x"))


def test_next_tokens_are_held_to_their_distributions() -> None:
    theirs_ = torch.tensor([[[1.0, 0.9, 0.0], [3.0, 0.0, 0.0]]], dtype=torch.float64)
    ours_ = torch.tensor([[[0.9, 1.0, 0.0], [0.0, 3.0, 0.0]]], dtype=torch.float64)
    kl, token = _next_tokens(ours_, theirs_, 1e-3)
    p, q = theirs_.softmax(-1), ours_.softmax(-1)
    expected = (p * (p / q).log()).sum(-1)
    assert (kl.max, kl.mean, kl.limit) == (pytest.approx(expected.max()), pytest.approx(expected.mean()), 1e-3)
    assert (token.max, token.said) == (2.0, "0/2 agree")
    unit = theirs_.square().mean().sqrt().item()
    _, token = _next_tokens(ours_, theirs_, 0.051 / unit)
    assert (token.max, token.said) == (1.0, "0/2 agree, 1 more are ties")
    _, token = _next_tokens(ours_, theirs_, 0.049 / unit)
    assert token.max == 2.0
    a, b = {"logits": ours_[0], "x": ours_}, {"logits": theirs_[0], "y": ours_, "x": 2 * ours_}
    assert [m.name for m in compare_outputs(a, b, 1.0)] == ["logits", "x"]
    assert worst_gap(a, {"x": 2 * ours_}) == pytest.approx(1.5 / ours_.square().mean().sqrt().item())
    assert worst_gap(a, {}) is None
    (exact,) = exact_outputs(a, {"x": ours_, "z": ours_}, 0.5)
    assert (exact.name, exact.max, exact.limit) == ("x, exact", 0.0, 0.5)
    assert [Measure("x", n, limit=1.0).is_ok for n in (0.5, 1.0, 1.5)] == [True, True, False]
    assert Measure("x", 9.0).is_ok


def test_edits_undo_themselves_also_after_an_error() -> None:
    layer = nn.Linear(2, 2)
    before, owner = layer.weight.data.clone(), SimpleNamespace(a=1, b=2)
    edits = [
        setting(owner, a=5, b=6), reweighting((layer.weight, lambda w: w + 1)), scaling_output(layer, 3.0),
        acting(layer, lambda x: x * 0 + 7),
    ]  # fmt: skip

    def fail() -> None:
        with together(edits)():
            assert (owner.a, owner.b) == (5, 6)
            assert torch.equal(layer.weight.data, before + 1)
            assert layer(torch.ones(2)).tolist() == [21.0, 21.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (owner.a, owner.b) == (1, 2)
    assert torch.equal(layer.weight.data, before)
    torch.testing.assert_close(layer(torch.ones(2)), before.sum(1) + layer.bias)
    inner = acting(layer, lambda x: x + 1)
    with acting(layer, lambda x: x + 2)():
        with inner():
            assert layer(torch.zeros(1)).item() == 1
        assert layer(torch.zeros(1)).item() == 2
    assert "forward" not in vars(layer)


def test_float32_is_lifted_wherever_it_is_asked_for() -> None:
    with Float64():
        x = torch.ones(2, dtype=torch.float32)
        assert x.dtype == x.float().dtype == x.to(torch.float32).dtype == torch.float64
        assert torch.softmax(x, -1, dtype=torch.float32).dtype == torch.float64
        assert torch.ones(2, dtype=torch.float16).dtype == torch.float16
    assert torch.ones(2, dtype=torch.float32).dtype == torch.float32


def answer(**more: Any) -> Verification:
    told: dict[str, Any] = {
        "source": "s", "reference": "r", "family": "f", "dtype": "float64", "inputs": "i",
        "measures": [Measure("logits", 2e-3, 1e-4, 1e-9, "units"), Measure("KL", 1e-3, limit=None)],
        "layers": {"layers.0": 1e-3, "layers.1": 2e-3}, "num_layers": 3, "difference": 2e-3,
        "noise": Noise({"a": 1e-12, "b": 1e-13}, {"c": 0.5}), "limit": Limit(1e-9, 1e-10, "rounding", "why"),
    }  # fmt: skip
    return Verification(**(told | more))


def test_the_answer_says_where_why_and_what_is_left() -> None:
    place = Divergence("layers.1", ("layers.1", "out"), "layers.0", 0.25, 3)
    why = Explanation("eps", ("layers.1.norm",), "says", "advice")
    told = answer(divergence=place, explanations=[why], unexplained=place, notes=["n"], seconds=1.23456)
    lines = told.table().splitlines()
    assert "FAIL" in next(line for line in lines if line.strip().startswith("logits"))
    assert next(line for line in lines if line.strip().startswith("KL")).split()[-1] != "ok"
    assert any("2 of 3 layers" in line and "worst layers.1  |Δ| 2.0e-03" in line for line in lines)
    assert any(line.startswith("explained by: eps in layers.1.norm: says. Fix: advice") for line in lines)
    assert lines[-1].endswith(str(place))
    assert any(line == "note       n" for line in lines)
    assert any("(c)" in line for line in lines)
    found = told.to_dict()
    assert (found["passed"], found["verdict"], found["difference"]) == (False, "not the same", 2e-3)
    assert (found["noise"], found["noise_of"]) == (1e-12, {"a": 1e-12, "b": 1e-13, "c": 0.5})
    assert (found["limit"], found["limit_source"], found["limit_reason"]) == (1e-9, "rounding", "why")
    assert (found["layers_compared"], found["seconds"]) == ("2 of 3", 1.235)
    del found["first_divergence"]["said"]
    assert found["first_divergence"] == {
        "place": "layers.1", "event": ["layers.1", "out"], "after": "layers.0", "difference": 0.25, "position": 3
    }  # fmt: skip
    assert found["explanations"] == [{"mistake": "eps", "where": ["layers.1.norm"], "says": "says", "advice": "advice"}]
    assert found["measures"][0] == {
        "name": "logits", "max": 2e-3, "mean": 1e-4, "limit": 1e-9, "said": "units", "ok": False
    }  # fmt: skip
    assert len(found["notes"]) == 2
    page = told.html()
    assert page.count("<tr>") == 3
    assert told._repr_html_() == page


def test_the_answer_without_a_place_or_a_mistake_says_so() -> None:
    assert "no module differs by more than rounding" in answer().table()
    place = Divergence("layers.1", ("layers.1", "out"), "layers.0", 0.25, 3)
    assert "none of the known mistakes" in answer(divergence=place).table()
    good = answer(measures=[Measure("logits", 0.0, limit=1.0)], difference=5e-11, num_layers=2, noise=Noise())
    assert (good.verdict, good.passed) == ("the same", True)
    assert "first divergence" not in good.table()
    assert "2 layers" in good.table()
    assert "not measured" in good.table()
    assert replace(good, difference=1e-10).verdict == "the same"
    assert replace(good, difference=2e-10).verdict == "the same within the reference's own rounding"
    assert replace(good, difference=0.5, limit=Limit(1.0, 1e-10, GIVEN, "")).verdict == "the same"
    assert good.to_dict()["first_divergence"] is None
    assert _in_words(Measure("x", 0.5, 0.25, 2.0, "said")) == "max |Δ| 5.0e-01  mean 2.5e-01  limit 2e+00  said"
    assert _in_words(Measure("next token", 3.0, limit=0.0, said="2/5 agree")) == "2/5 agree"
    assert _in_words(Measure("cached", 0.0, said="not run: why")) == "not run: why"
    assert copy.copy(good).table() == good.table()
