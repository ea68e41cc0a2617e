"""The page is one file that parses, fetches nothing, runs nothing and trusts no text of a config."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import zoo
from zoo.comparison import ComparedModel, Comparison, Findings, Row, compare
from zoo.comparison.rows import Terms, rows
from zoo.errors import UsageError

FIVE = ("gpt2", "llama3", "gemma2-9b", "deepseek-v2-lite", "chatglm-6b")
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects elements and text, and insists that every element is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute of <{tag}> is given twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return compare(*FIVE).html()


def test_it_is_one_small_file_that_parses_and_fetches_nothing(page):
    read = Reader(page)
    assert len(page.encode()) < 400_000
    tags = {tag for tag, _ in read.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in read.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            assert name not in ("src", "href", "action", "xlink:href", "srcset")
            assert "url(" not in (value or "")
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "http:" not in page
    assert "https:" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_and_every_picture_has_a_name(page):
    read = Reader(page)
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 3
    assert all(attributes.get("aria-label") for attributes in read.all("svg"))


def test_the_table_says_what_the_text_says(page):
    texts = set(Reader(page).texts)
    for row in compare(*FIVE).differing:
        assert set(row.texts) <= texts, row.label


def test_a_picture_for_every_model_and_kind_of_layer(page):
    names = [attributes["aria-label"] for attributes in Reader(page).all("svg")]
    assert sum(name.startswith("who attends to whom") for name in names) == 6  # Gemma 2 has two kinds of layers
    assert sum(name.startswith("parameters of") for name in names) == 5
    assert sum("norm → attention" in name for name in names) == 5
    assert names.count("cache growth") == names.count("rotary wavelengths") == 2  # for wide and narrow screens


def test_a_model_has_one_colour_everywhere(page):
    read = Reader(page)
    figures = [attributes["class"] for attributes in read.all("figure")]
    assert {f"card m{i}" for i in range(5)} < set(figures)
    for attributes, text in _named_lines(page):
        assert attributes == f"m{FIVE.index(text)}", text


def _named_lines(page: str):
    """The class of the group around each label of a line, and what it says."""
    for part in page.split('<g class="')[1:]:
        if 'class="name">' in part.partition("</g>")[0]:
            yield part.partition('"')[0], part.partition('class="name">')[2].partition("<")[0]


def test_text_from_configs_is_only_text():
    evil = "<script>alert(1)</script>\"'><img src=x onerror=y>&\x1b[31m"
    s = ComparedModel.of("llama3")
    traits = {name: evil for name in ("attention", "position", "mlp", "norm")}
    anatomy = replace(s.size.anatomy, traits={**traits, "block": "norm → attention → + → norm → MLP → +", "odd": evil})
    bad = ComparedModel(evil, replace(s.config, source=evil, license=evil), replace(s.size, anatomy=anatomy), evil)
    found = Comparison((s, bad), rows((s, bad), Terms(100, 4)))
    read = Reader(found.html())
    assert not {tag for tag, _ in read.elements} & {"script", "img"}
    assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)
    assert any("<script>" in text for text in read.texts)


def test_losses_and_measured_rows_are_shown():
    c = compare("gpt2", "tiny")
    row = Row("measured", "perplexity", (20.5, 8.25), ("20.50", "8.25"), is_number=True)
    measured = Findings((row,), ((3.0, 2.5, 4.0), (2.0, 2.5, 1.0)), ("greedy, on 3 tokens",))
    shown = replace(c, measurements=measured).html()
    assert "Loss per token" not in c.html()
    read = Reader(shown)
    assert {"20.50", "8.25", "greedy, on 3 tokens."} <= set(read.texts)
    assert [a["aria-label"] for a in read.all("svg")].count("loss per token") == 2


def test_a_notebook_gets_the_page_in_a_frame_of_its_own():
    c = compare("gpt2", "tiny")
    (frame,) = Reader(c._repr_html_()).all("iframe")
    assert frame["srcdoc"] == c.html()


def test_more_models_than_colours_are_refused():
    with pytest.raises(UsageError, match="colours for 8 models, not for 9"):
        compare(*["tiny"] * 9).html()


def test_layers_come_before_the_table_and_equal_rows_are_folded_and_marked():
    c = compare("llama2-7b", "llama3-8b", "llama3.1-8b")
    text = c.html()
    assert text.index('id="layers"') < text.index('id="differs"') < text.index('id="parameters"')
    page = Reader(text)
    kinds = [row.get("class") or "" for row in page.all("tr")]
    assert sum("same" in kind.split() for kind in kinds) == len(c.same) > 1
    folded = text[text.index("<details>") : text.index("</details>")]
    assert folded.count("= ") == len(c.same)
    assert folded.count('class="same"') + folded.count('class="part same"') == len(c.same)
    assert "open" not in page.all("details")[0]
    assert "3 columns: swipe" in text
    assert "columns: swipe" not in compare("gpt2", "llama3").html()


def test_the_size_of_a_treemap_tells_the_size_of_the_model():
    c = compare("gpt2", "llama3", "gemma2-9b")
    parts = c.html().split('aria-label="parameters of ')[1:]
    areas = []
    for part in parts:
        tiles = [tag for name, tag in Reader(f"<svg {part.partition('</svg>')[0].partition(' ')[2]}</svg>").elements]
        boxes = [tag for tag in tiles if "tile" in (tag.get("class") or "")]
        areas.append(sum(float(box["width"] or 0) * float(box["height"] or 0) for box in boxes))
    counts = [s.size.parameters for s in c.subjects if s.size]
    assert areas[1] / areas[2] == pytest.approx(counts[1] / counts[2], rel=0.02)  # pixels are cut to tenths
    assert areas[0] < areas[1] * 0.02


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
def test_where_the_error_of_rounding_lies_is_drawn_and_counted(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("One day she was very happy, and the sun was out.", encoding="utf-8")
    c = compare("tiny", "tiny quantize=int4", text=text)
    assert c.measurements is not None
    rows = {row.label: row.values for row in (*c.rows, *c.measurements.rows)}
    rounded = zoo.load("tiny", quantize="int4").rounded
    errors = sorted(rounded.errors.values())
    assert rows["relative error of weights, median"] == (None, pytest.approx(errors[len(errors) // 2], rel=1e-4))
    whole = 2048 * 128 + 5 * (49_152 + 3 * 288 * 128 + 256) + 128  # embedding, layers, norm: bfloat16 where not rounded
    numbers, kept = rounded.numbers, whole - rounded.numbers
    assert rows["weights, rounded"] == (None, rounded.nbytes + 2 * kept)
    assert rows["bits per weight"][1] == pytest.approx(8 * (rounded.nbytes + 2 * kept) / (numbers + kept))
    assert rows["KL(first to this), nats per token"][1] > 0
    page = c.html()
    assert "tiny quantize=int4 against tiny: relative error by layer and role" in page
    assert page.count("layers.3 mlp: relative") == 1
