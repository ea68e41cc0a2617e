"""What is drawn of the models that are compared."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from zoo.comparison import Comparison, Findings, compare, lines
from zoo.comparison.attention import Look, look
from zoo.comparison.lines import cache_growth, losses, wavelengths
from zoo.report.chart import WIDE


def test_the_cache_is_dashed_beyond_the_context():
    wide = ElementTree.fromstring(cache_growth(compare("gpt2", "deepseek-v2-lite"))[0])
    dashed = [g.get("class") for g in wide.iter("g") if any("dashed" in p.get("class", "") for p in g.iter("path"))]
    assert dashed == ["m0"]  # 1,024 tokens; DeepSeek's 163,840 are beyond the chart


def test_a_line_that_another_covers_is_broader():
    wide = ElementTree.fromstring(cache_growth(compare("llama2-7b", "llama1-7b"))[0])
    styles = [{p.get("class") for p in g.iter("path")} for g in wide.iter("g") if g.get("class") in ("m0", "m1")]
    assert any("under" in name for name in styles[0])
    assert not any("under" in name for name in styles[1])


def test_no_leader_crosses_the_plot():
    """Two models that rotate another number of pairs: the shorter line ends in a dot, and has one at its name."""
    c = compare("gemma2-9b", "llama3")
    wide = ElementTree.fromstring(wavelengths(c, [look(s) for s in c.subjects])[0])
    leaders = [p for p in wide.iter("path") if p.get("class") == "leader"]
    dots = [circle for circle in wide.iter("circle") if circle.get("class") == "seen"]
    edge = WIDE.x[1]
    assert len(leaders) == 1
    assert float(leaders[0].get("d")[1:].split(" ")[0]) > edge - 12
    assert [float(dot.get("cx")) > edge for dot in dots] == [False, True]


def test_a_model_without_arithmetic_has_no_drawings():
    c = compare("gpt2", "llama3")
    page = replace(c, subjects=(replace(c.subjects[0], size=None), c.subjects[1])).html()
    assert page.count("parameters of ") == page.count(': norm → attention → + → norm → MLP → +"') == 1


def points(c: Comparison, monkeypatch: pytest.MonkeyPatch, draw: Any) -> list[Any]:
    """The lines and the axes that a chart is made of."""
    seen: list[Any] = []
    monkeypatch.setattr(
        lines, "both", lambda drawn, found: seen.append(found) or drawn(SimpleNamespace(x=(0,), y=(0,)))
    )
    for name in ("lengths_axis", "bytes_axis", "counted", "decades"):
        monkeypatch.setattr(lines, name, lambda *ends, name=name: (name, *ends))
    monkeypatch.setattr(lines, "chart", lambda title, found, x, y, frame, **more: seen.append((title, x, y, more)))
    draw(c)
    return seen


def test_a_cache_is_drawn_from_a_few_tokens_to_beyond_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    c = compare("gpt2", "bert-base-cased", "llama3", length=300_000)
    found, (title, x, y, more) = points(c, monkeypatch, cache_growth)
    size = c.subjects[0].size
    assert size is not None
    assert [line.name for line in found] == ["gpt2", "llama3"]  # bert keeps none
    tokens = [n for n, _ in found[0].points]
    assert (tokens[0], tokens[-1]) == (512, 300_000)
    assert 1024.0 in tokens
    assert all(value == size.cache_bytes(int(n)) for n, value in found[0].points)
    every = [value for line in found for _, value in line.points]
    assert (x, y) == (("lengths_axis", 512, 300_000, 0), ("bytes_axis", min(every), max(every), 0))
    assert (title, more["mark"], found[0].solid_to) == ("cache growth", 300_000, 1024)
    _, (_, x, _, _) = points(compare("gpt2", "llama3", length=100), monkeypatch, cache_growth)
    assert x == ("lengths_axis", 100, 128 * 1024, 0)
    assert cache_growth(compare("bert-base-cased", "bert-base-cased")) == []


def test_losses_are_drawn_up_to_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    c = replace(
        compare("gpt2", "llama3", "bert-base-cased"), measurements=Findings((), ((1.0, 2.5), None, (0.5, 3.25)))
    )
    found, (_, x, y, _) = points(c, monkeypatch, losses)
    assert [(line.name, line.points) for line in found] == [
        ("gpt2", ((0.0, 1.0), (1.0, 2.5))), ("bert-base-cased", ((0.0, 0.5), (1.0, 3.25)))
    ]  # fmt: skip
    assert (x, y) == (("counted", 1, 0), ("counted", 4, 0))
    assert losses(replace(c, measurements=None)) == []
    assert losses(replace(c, measurements=Findings((), (None, None, None)))) == []


def test_wavelengths_are_named_by_their_layers_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [Look([], {"all": (6.0, 60.0)}), Look([], {"a": (7.0,), "b": (8.0, 80.0, 800.0)})]
    found, (_, x, y, _) = points(compare("gpt2", "llama3"), monkeypatch, lambda c: wavelengths(c, looks))
    assert [(line.name, line.is_second, line.points) for line in found] == [
        ("gpt2", False, ((0.0, 6.0), (1.0, 60.0))), ("llama3, a", False, ((0.0, 7.0),)),
        ("llama3, b", True, ((0.0, 8.0), (1.0, 80.0), (2.0, 800.0))),
    ]  # fmt: skip
    assert (x, y) == (("counted", 2, 0), ("decades", 6.0, 800.0, 0))
    assert wavelengths(compare("gpt2", "llama3"), [Look(), Look()]) == []
