"""The pictures that the README and the start page show, drawn by the code that draws the reports.

`python -m tools.docs.drawings` writes them to docs/theme/assets, one for a light and one for a dark ground.
"""

from __future__ import annotations

import re
from pathlib import Path

from zoo.comparison import ComparedModel
from zoo.comparison.record import LENGTH
from zoo.report.block import WIDTH, block
from zoo.report.palette import DARK, LIGHT, Scheme, tints
from zoo.report.svg import Markup, element, label
from zoo.units import human_bytes, human_count, human_length

from .deviations import ROOT

ASSETS = ROOT / "docs" / "theme" / "assets"
FILES = {"light": ASSETS / "compare-light.svg", "dark": ASSETS / "compare-dark.svg"}
MODELS = ("llama3.1-8b", "gemma3-4b", "deepseek-v3")
TOP, GAP, EDGE = 112, 16, 14  # above a layer, between two cards, and inside one, in pixels
RULES = """
text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;fill:INK}
.muted{fill:MUTED}.strong{font-weight:600}
.card{fill:SURFACE;stroke:LINE}
.flow{fill:none;stroke:MUTED;stroke-width:1.3}
.norm{fill:EMPTY;stroke:LINE}
.plus{fill:SURFACE;stroke-width:1.6}.sign{stroke-width:1.6}
"""


def comparison(scheme: Scheme) -> str:
    """One layer of each of MODELS side by side, below what they cost: an SVG that needs nothing else."""
    subjects = [ComparedModel.of(name) for name in MODELS]
    drawn = [_layer(s) for s in subjects]
    inner = max(height for _, height in drawn)
    step, height = int(WIDTH) + 2 * EDGE + GAP, int(TOP + inner + EDGE)
    cards = [
        _card(i, s, layer, (i * step, height)) for i, (s, (layer, _)) in enumerate(zip(subjects, drawn, strict=True))
    ]
    name = f"One layer of {', '.join(MODELS)}, as zoo compare draws it"
    return element(
        "svg", element("style", Markup(_style(scheme, len(MODELS)))), element("title", name), *cards,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"-1 -1 {len(MODELS) * step - GAP + 2} {height + 2}", role="img",
    ) + "\n"  # fmt: skip


def _layer(s: ComparedModel) -> tuple[Markup, float]:
    """A layer's drawing and its height, in pixels."""
    traits = s.size.anatomy.traits if s.size else {}
    drawn = block(s.name, _counted(s), traits)
    assert drawn is not None, s.name
    return drawn, float(drawn.partition('viewBox="')[2].partition('"')[0].split()[3])


def _card(i: int, s: ComparedModel, layer: Markup, place: tuple[int, int]) -> Markup:
    """A model's name, its numbers and its layer."""
    assert s.size is not None
    (x, height), wide, anatomy = place, WIDTH + 2 * EDGE, s.size.anatomy
    facts = {
        "parameters": human_count(s.size.parameters),
        "active per token": human_count(s.size.active_parameters),
        "context": human_length(anatomy.max_seq_len or 0),
        f"cache at {human_length(LENGTH)}": human_bytes(s.size.cache_bytes(LENGTH)),
    }
    lines = [label(EDGE, 28, s.name, size=17, class_="name")]
    for row, (what, told) in enumerate(facts.items()):
        y = 50 + 17 * row
        lines += [label(EDGE, y, what, size=12, class_="muted"), label(wide - EDGE, y, told, size=12, anchor="end")]
    placed = layer.replace("<svg ", f'<svg x="{EDGE}" y="{TOP}" width="{WIDTH:g}" height="{height - TOP - EDGE}" ', 1)
    placed = placed.replace("<svg ", '<svg preserveAspectRatio="xMidYMin" ', 1)
    ground = element("rect", width=wide, height=height, rx=10, class_="card")
    return element("g", ground, *lines, Markup(placed), transform=f"translate({x} 0)", class_=f"m{i}")


def _counted(s: ComparedModel) -> str:
    """How many layers there are; of a model that reads images too, those of its text."""
    values = s.config.to_dict()
    count = values.get("num_layers") or values.get("text", {}).get("num_layers")
    return f"{count} layers" if count else "its layers"


def _style(scheme: Scheme, count: int) -> str:
    rules = RULES.replace("SURFACE", scheme.surface).replace("INK", scheme.ink).replace("MUTED", scheme.muted)
    rules = rules.replace("LINE", scheme.line).replace("EMPTY", scheme.empty)
    for i in range(count):
        colour, shades = scheme.models[i], tints(scheme, i)
        rules += f".m{i} .name{{fill:{colour}}}.m{i} .plus{{stroke:{colour}}}.m{i} .sign{{stroke:{colour}}}\n"
        rules += f".m{i} .attn{{fill:{shades[3]};stroke:{colour}}}.m{i} .mlp{{fill:{shades[1]};stroke:{colour}}}\n"
    return rules


def layer(preset: str) -> str:
    """One layer of a preset as a figure of a page, in the page's colours; empty where its traits tell no order."""
    s = ComparedModel.of(preset)
    traits = s.size.anatomy.traits if s.size else {}
    drawn = block(s.name, _counted(s), traits)
    return element("figure", drawn, class_="zoo-layer m0") if drawn else ""


def layer_css() -> str:
    """The style of `layer` under the site's light and dark scheme."""
    rules = ".zoo-layer{width:14rem;max-width:100%;margin:1em 0}.zoo-layer svg{display:block;width:100%}\n"
    for ground, scheme in (("", LIGHT), ('[data-md-color-scheme="slate"] ', DARK)):
        rules += re.sub(r"(?m)(^|\})(?=[.\w])", rf"\1{ground}.zoo-layer ", _style(scheme, 1).strip())
        rules += "\n"
    return rules.replace(".zoo-layer .m0 ", ".zoo-layer.m0 ")


def drawings() -> dict[Path, str]:
    """Every picture by the file that holds it."""
    return {FILES["light"]: comparison(LIGHT), FILES["dark"]: comparison(DARK)}


if __name__ == "__main__":
    for file, text in drawings().items():
        file.write_text(text, encoding="utf-8")
