"""Axes, treemaps and labels: ticks are round, areas are shares, and nothing lies on anything else."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from zoo.report.axis import bytes_axis, counted, decades, lengths_axis
from zoo.report.block import block
from zoo.report.chart import spread
from zoo.report.mask import grid
from zoo.report.svg import element, wrapped
from zoo.report.treemap import Tile, legend, squarified, treemap


@pytest.mark.parametrize(("low", "high"), [(3e6, 2e11), (1.0, 5.0), (1 << 20, 1 << 30), (700.0, 700.0)])
def test_axes_of_bytes_have_few_ticks_at_powers_of_four_around_the_values(low, high):
    axis = bytes_axis(low, high, 0, 100)
    exponents = [math.log2(value) / 2 for value, _ in axis.ticks]
    assert 2 <= len(exponents) <= 6
    assert all(e == round(e) for e in exponents)
    assert len({b - a for a, b in pairwise(exponents)}) == 1
    assert axis.low <= low
    assert axis.high >= high
    assert (axis(axis.low), axis(axis.high)) == (0, 100)


def test_ticks_are_worded_round():
    assert [text for _, text in lengths_axis(512, 131072, 0, 1).ticks] == "512 1k 2k 4k 8k 16k 32k 64k 128k".split()
    assert [text for _, text in decades(6.28, 2e6, 0, 1).ticks] == "1 100 10k 1M 100M".split()
    assert [
        text for _, text in bytes_axis(2**20, 2**30, 0, 1).ticks
    ] == "1 MiB,4 MiB,16 MiB,64 MiB,256 MiB,1 GiB".split(",")
    assert [text for _, text in counted(63, 0, 1).ticks] == ["0", "16", "32", "48"]


def test_a_logarithmic_axis_gives_equal_steps_to_equal_ratios():
    axis = lengths_axis(512, 131072, 60, 860)
    assert axis(2048) - axis(1024) == pytest.approx(axis(65536) - axis(32768)) == pytest.approx(100)


@pytest.mark.parametrize("wanted", [[50, 50, 50], [0, 1, 2], [98, 99, 100], [10, 90, 50, 52, 11]])
def test_labels_are_moved_apart_and_keep_their_order(wanted):
    places = spread(wanted, 0, 100, gap=16)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    apart = [places[b] - places[a] for a, b in pairwise(order)]
    assert all(gap >= 16 - 1e-9 for gap in apart)
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in places)


def test_areas_of_a_treemap_are_the_shares():
    sizes, room = [6, 6, 4, 3, 2, 2, 1], Tile(0, 0, 6, 4)  # the example of Bruls, Huizing and van Wijk, section 3.1
    tiles = squarified(sizes, room)
    assert [tile.width * tile.height for tile in tiles] == pytest.approx(sizes)
    assert (tiles[0].width, tiles[0].height) == pytest.approx((3, 2))  # as in its figure 5
    assert (tiles[2].width, tiles[2].height) == pytest.approx((12 / 7, 7 / 3))
    for i, a in enumerate(tiles):
        assert -1e-9 <= a.x <= 6 - a.width + 1e-9
        assert -1e-9 <= a.y <= 4 - a.height + 1e-9
        for b in tiles[i + 1 :]:
            across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
            down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
            assert min(across, down) < 1e-9


def test_the_legend_names_every_role():
    shown = legend({"norm": 221_184, "experts": 14_394_851_328, "other": 1_311_411_972})
    assert "experts" in shown
    assert "14.4B" in shown
    assert "92%" in shown
    assert "&lt;0.1%" in shown  # norms, which have no tile of their own
    assert len(ElementTree.fromstring(treemap("x", {"a": 10_000, "b": 1})).findall("g")) == 1


ORDERS = {
    "pre": "norm → attention → + → norm → MLP → +",
    "sandwich": "norm → attention → norm → + → norm → MLP → norm → +",
    "post": "attention → + → norm → MLP → + → norm",
    "of what was normed": "norm → attention → + 7.48 × norm → norm → MLP → + …",
}


def drawn(order: str) -> ElementTree.Element:
    traits = {"attention": "MHA 12", "norm": "LayerNorm, pre", "mlp": "GELU 3072", "block": ORDERS[order]}
    return ElementTree.fromstring(block("a model", "12 layers", traits))


@pytest.mark.parametrize(
    ("order", "norms", "additions"), [("pre", 2, 2), ("sandwich", 4, 2), ("post", 2, 2), ("of what was normed", 2, 2)]
)
def test_a_block_has_the_parts_of_its_description(order, norms, additions):
    drawing = drawn(order)
    assert "one of 12 layers" in "".join(drawing.itertext())
    kinds = [part.get("class") for part in drawing.iter()]
    assert (kinds.count("norm"), kinds.count("plus"), kinds.count("attn"), kinds.count("mlp")) == (
        norms,
        additions,
        1,
        1,
    )


def test_skip_branches_begin_before_the_norm_in_pre_norm_and_behind_it_in_post_norm():
    def heights(order: str) -> list[tuple[float, float]]:
        """The top of each norm and where the branch of the same number leaves the stream, from above."""
        drawing = drawn(order)
        tops = [float(part.get("y")) for part in drawing.iter("rect") if part.get("class") == "norm"]
        paths = [part.get("d") for part in drawing.iter("path") if part.get("d").count("H") == 2]
        leaves = [float(path.partition(" ")[2].partition("H")[0]) for path in paths]
        return list(zip(tops, leaves, strict=True))

    assert [leaf < top for top, leaf in heights("pre")] == [True, True]
    assert [leaf < top for top, leaf in heights("of what was normed")] == [False, False]  # they carry what was normed
    (first_norm, first), (_, second) = heights("post")
    assert first < first_norm < second


def test_a_grid_draws_each_shade_once():
    drawing = ElementTree.fromstring(grid("x", [[1, 0, 0], [0.5, 1, 0], [0.5, 0.5, 1]]))
    paths = {p.get("fill-opacity"): p.get("d") for p in drawing.iter("path") if p.get("class") == "seen"}
    assert paths == {
        "1.00": "M0 0h1v1h-1zM1 1h1v1h-1zM2 2h1v1h-1z",
        "0.50": "M0 1h1v1h-1zM0 2h2v1h-2z",
    }


def test_text_and_attributes_are_escaped():
    shown = element("p", "<b> & 'c'", element("i", "d"), title='"><script>')
    assert shown == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt; &amp; &#x27;c&#x27;<i>d</i></p>'


def test_lines_are_wrapped_evenly():
    assert wrapped("SwiGLU MoE 64+2, top 6", 164, 12) == ["SwiGLU MoE", "64+2, top 6"]
    assert wrapped("", 100, 12) == [""]


def test_a_model_whose_order_is_not_told_has_no_block():
    assert block("a model", "its layers", {}) is None
    assert block("a model", "its layers", {"attention": "MHA 12"}) is None
