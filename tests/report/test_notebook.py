"""What notebooks show of models, ledgers and verifications: small, whole, of text that stays text."""

from __future__ import annotations

import pytest

import zoo
from tests.comparison.test_page import Reader
from zoo.report.notebook import facts

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def model():
    return zoo.load("tiny")


def test_a_text_stays_a_text_and_is_cut():
    page = Reader(shown := facts(HOSTILE, [(HOSTILE, HOSTILE + "x" * 9000)], [HOSTILE], is_bad=True))
    assert not page.all("img")
    assert page.texts.count(HOSTILE) == 3
    assert len(shown) < 4000


def test_colours_are_the_notebooks_own():
    shown = facts("a", [("b", "c")])
    assert "color:inherit" in shown
    assert "background:transparent" in shown
    assert "<style" not in shown  # which would reach the page around it


def test_a_model_is_counted(model):
    page = Reader(model._repr_html_())
    told = dict(zip(page.texts[1::2], page.texts[2::2], strict=True))
    assert page.texts[0] == f"llama · {type(model).__name__} · 5 layers"
    assert told["weights"] == "from tiny"
    assert told["attention"] == "GQA 4/2"
    assert told["parameters"].startswith("1.06M in 47 tensors, 2.0")
    assert told["dtype"] == "bfloat16 (47)"
    # OpenAI's file has 148 tensors; q, k and v are one weight and one bias there and three here: 4 more per layer.
    built = zoo.build("gpt2", device="meta")
    assert "not loaded: built from a config" in built._repr_html_()
    assert "124M in 196 tensors" in built._repr_html_()


def test_a_ledger_tells_what_has_no_place(model):
    page = Reader(model.ledger._repr_html_())
    assert "47: 47 loaded · 0 tied · 0 missing · 0 unexpected" in page.texts
    broken = zoo.inspect("tiny", "model.num_layers=6")
    assert not broken.account.is_settled
    shown = broken._repr_html_()
    assert "missing" in shown
    assert "model.layers.5" in shown
    assert "#d64545" in shown
    broken.source = HOSTILE
    assert "<img" not in broken._repr_html_()
