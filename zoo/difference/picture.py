"""Where two checkpoints differ, as a picture: the relative difference of each role in each layer."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.difference.record import Total, WeightDifference
from zoo.difference.table import changed, columns, cosine, mark, number
from zoo.report.heat import Cell, heat, scale
from zoo.report.svg import Markup, element


def by_layer_and_role(d: WeightDifference) -> Iterator[Markup]:
    """The scale of the colours, and a figure for each stack of layers."""
    yield element("figure", scale(), class_="card whole")
    for stack in dict.fromkeys(stack for stack, _ in d.by_layer):
        layers = [layer for s, layer in d.by_layer if s == stack]
        roles = [role for role in columns(d) if any((stack, layer, role) in d.cells for layer in layers)]
        grid = [[_cell(d.cells.get((stack, layer, role)), stack, layer, role) for layer in layers] for role in roles]
        names = ["" if layer is None else str(layer) for layer in layers]
        drawn = heat(f"relative difference in {stack or 'what is outside the layers'}", roles, names, grid)
        heading = element("h3", stack or "outside the layers")
        inside = element("div", drawn, class_="scroll plain", role="region", tabindex=0, aria_label=stack or "outside")
        yield element("figure", heading, inside, class_="card whole")


def _cell(total: Total | None, stack: str, layer: int | None, role: str) -> Cell | None:
    if total is None:
        return None
    where = role if layer is None else f"{stack}.{layer} {role}"
    n = total.tally
    words = f"relative {mark(total)}, max |Δ| {number(n.largest)}, cosine {cosine(n.cosine)}"
    return Cell(
        None if n.not_finite else n.relative, f"{where}: {words}, {changed(n.changed, n.numel)} elements changed"
    )
