"""The table as text, Markdown and tab-separated values."""

from __future__ import annotations

import re

import pytest

from zoo.comparison import compare
from zoo.comparison.table import as_tsv

THREE = ("gpt2", "llama3-8b", "deepseek-v2-lite")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_the_width_and_columns_stay_aligned(width):
    shown = compare(*THREE).table(width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    at = [lines[0].index(name[:9]) for name in THREE]  # a long name wraps too
    for line in lines:
        if line.startswith("  attention  "):
            assert [line[i : i + 3] for i in at] == ["MHA", "GQA", "MLA"]


def test_every_cell_is_whole_even_where_it_wraps():
    shown = " ".join(compare(*THREE).table(70).split())
    assert "64+2," in shown
    assert "decoder- only" not in shown


def test_markdown_is_a_table():
    lines = compare(*THREE).markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {5}
    assert table[0] == "| | gpt2 | llama3-8b | deepseek-v2-lite |"
    assert "| **attention** | MHA 12 | GQA 32/8 | MLA 512 + 64 |" in table
    assert any(line.startswith("| &nbsp;&nbsp;experts |") for line in table)


def test_markdown_shows_marks_as_they_are():
    assert "**family** | qwen2\\_moe |" in compare("qwen1.5-moe-a2.7b", "llama3").markdown()


def test_pipes_get_exact_numbers_and_every_row():
    c = compare(*THREE)
    rows = [line.split("\t") for line in as_tsv(c).splitlines()]
    assert rows[0] == ["", *THREE]
    told = {row[0]: row[1:] for row in rows[1:]}
    assert len(told) == len(c.rows)  # no name twice
    assert told["parameters"] == ["124439808", "8030261248", "15706484224"]
    assert told["parameters: experts"] == ["", "", "14394851328"]
    assert told["kind"] == ["causal, decoder-only"] * 3  # what all share as well
