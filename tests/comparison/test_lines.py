"""What is drawn of the models that are compared."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from zoo.comparison import compare
from zoo.comparison.lines import cache_growth


def test_the_cache_is_dashed_beyond_the_context():
    wide = ElementTree.fromstring(cache_growth(compare("gpt2", "deepseek-v2-lite"))[0])
    dashed = [g.get("class") for g in wide.iter("g") if any("dashed" in p.get("class", "") for p in g.iter("path"))]
    assert dashed == ["m0"]  # 1,024 tokens; DeepSeek's 163,840 are beyond the chart


def test_a_line_that_another_covers_is_broader():
    wide = ElementTree.fromstring(cache_growth(compare("llama2-7b", "llama1-7b"))[0])
    styles = [{p.get("class") for p in g.iter("path")} for g in wide.iter("g") if g.get("class") in ("m0", "m1")]
    assert any("under" in name for name in styles[0])
    assert not any("under" in name for name in styles[1])


def test_a_model_without_arithmetic_has_no_drawings():
    c = compare("gpt2", "llama3")
    page = replace(c, subjects=(replace(c.subjects[0], size=None), c.subjects[1])).html()
    assert page.count("parameters of ") == page.count("norm → attention → + → norm → MLP → +") - 1 == 1
