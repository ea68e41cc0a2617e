"""How a layer is cut over four ranks, drawn from what its blocks declare: the picture on the page of many devices."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from zoo.anatomy.cuts import EXPERTS, Share
from zoo.anatomy.records import Weight
from zoo.parallel.shares import expert_share, is_whole, tensor_share
from zoo.presets import config

PLACE = "<!-- cuts -->"  # where the picture stands on the page
LAYERS = (  # what a layer is called, the preset that has it, and in which way it is cut
    ("LLaMA, tp", "llama3.1-8b", tensor_share),
    ("MoE, tp", "mixtral-8x7b", tensor_share),
    ("MoE, ep", "mixtral-8x7b", expert_share),
)
RANKS, CELL, SIDE, HEIGHT = 4, 112, 76, 132  # of a weight's place and of the longest side in it, in pixels
HUES = "4c78a8 f58518 54a24b b279a2".split()
STYLE = (
    ".cut rect{stroke:currentColor;stroke-width:1}.cut text{fill:currentColor;font:11px monospace;text-anchor:middle}"
    ".cut .name{font-size:13px;text-anchor:start}"
    + "".join(f".cut .r{rank}{{fill:#{hue};fill-opacity:.75}}" for rank, hue in enumerate(HUES))
    + ".cut .whole{fill:currentColor;fill-opacity:.12}"
)  # fmt: skip


def picture() -> str:
    """An SVG: for each layer its matrices and norms, each with the part that a rank has in the rank's colour."""
    rows = [(title, [(w, share(w.shares)) for w in _weights(preset)]) for title, preset, share in LAYERS]
    wide = max(len(weights) for _, weights in rows) * CELL
    drawn = "".join(_row(title, weights, i * (HEIGHT + 30)) for i, (title, weights) in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {len(rows) * (HEIGHT + 30)}" role="img" '
        f'style="width:100%"><title>Layers over {RANKS} ranks</title><style>{STYLE}</style>'
        f'<g class="cut">{drawn}</g></svg>'
    )


def _weights(preset: str) -> Iterator[Weight]:
    """The weights of one layer, in the order in which a token passes them; of the norms one."""
    weights = [w for w in config(preset).anatomy().weights if w.name.startswith("layers.{i}.")]
    order = ("norm", "q_proj", "k_proj", "v_proj", "o_proj", "router", "gate_proj", "up_proj", "down_proj")
    for part in order:
        yield from [w for w in weights if part in w.name][:1]


def _row(title: str, weights: list[tuple[Weight, Share | None]], top: float) -> str:
    longest = max(max(w.shape[-2:]) for w, _ in weights)
    drawn = "".join(_weight(w, share, (i * CELL + CELL / 2, top + 24), longest) for i, (w, share) in enumerate(weights))
    return f'<text class="name" x="4" y="{top + 14}">{escape(title)}</text>{drawn}'


def _weight(w: Weight, share: Share | None, at: tuple[float, float], longest: int) -> str:
    x, top = at
    rows, columns = w.shape[-2:] if len(w.shape) > 1 else (w.shape[0], 1)
    high, wide = (10 + (SIDE - 10) * n / longest for n in (rows, columns))
    left, parts = x - wide / 2, ""
    if share is None or share.dim is None or is_whole(share, RANKS):
        parts = f'<rect class="whole" x="{left:.0f}" y="{top}" width="{wide:.0f}" height="{high:.0f}"/>'
        how = "whole"
    else:
        # Of a stack of experts a rank has some whole: they are drawn one above the other, as if laid end to end.
        is_by_rows, how = share.by == EXPERTS or share.dim == len(w.shape) - 2, share.by
        for rank in range(RANKS):
            dx, dy = (0, high / RANKS * rank) if is_by_rows else (wide / RANKS * rank, 0)
            size = (wide, high / RANKS) if is_by_rows else (wide / RANKS, high)
            parts += (
                f'<rect class="r{rank}" x="{left + dx:.1f}" y="{top + dy:.1f}" '
                f'width="{size[0]:.1f}" height="{size[1]:.1f}"/>'
            )
    name = w.name.rpartition(".")[2] if w.name.rpartition(".")[2] != "weight" else w.name.split(".")[-2]
    times = f"{w.shape[0]} × " if len(w.shape) == 3 else ""
    words = f'<text x="{x:.0f}" y="{top + SIDE + 16}">{times}{escape(name)}</text>'
    return f'{parts}{words}<text x="{x:.0f}" y="{top + SIDE + 30}">{how}</text>'
