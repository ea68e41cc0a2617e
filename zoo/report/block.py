"""One layer of a model as a drawing: what its description says of the order of norms, attention, MLP and additions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo.report.svg import Markup, element, label, picture, rule, wrapped

WIDTH, LEFT, RIGHT = 224.0, 30.0, 204.0  # the boxes' sides; the skip branch runs on the left of them
GAP = 16.0
TYPE = 12.0


@dataclass
class Drawing:
    """Parts from top to bottom; `y` is where the stream has come to."""

    middle: float = (LEFT + RIGHT) / 2
    y: float = 20.0
    parts: list[Markup] = field(default_factory=list)

    def box(self, lines: list[str], class_: str, *, size: float = TYPE) -> None:
        """A box with centred lines, and the stream into it."""
        self.stream()
        height = 10 + len(lines) * (size + 3)
        self.parts.append(element("rect", x=LEFT, y=self.y, width=RIGHT - LEFT, height=height, rx=6, class_=class_))
        for i, line in enumerate(lines):
            strong = "strong" if i == 0 and class_ != "norm" else ""
            y = self.y + 4 + (i + 1) * (size + 3) - 2
            self.parts.append(label(self.middle, y, line, size=size, anchor="middle", class_=strong))
        self.y += height

    def add(self, since: float, weight: str) -> None:
        """A circled plus, and the branch that brings what the stream was at `since`."""
        self.stream()
        r, x = 9.0, LEFT - 18
        centre = self.y + r
        path = f"M{self.middle} {since:.1f}H{x}V{centre:.1f}H{self.middle - r}"
        self.parts.append(element("path", d=path, class_="flow"))
        self.parts.append(element("circle", cx=self.middle, cy=centre, r=r, class_="plus"))
        self.parts.append(rule(self.middle - 4, centre, self.middle + 4, centre, "sign"))
        self.parts.append(rule(self.middle, centre - 4, self.middle, centre + 4, "sign"))
        if weight:
            self.parts.append(label(self.middle + 14, centre + 4, weight, size=11))
        self.y += 2 * r

    def stream(self) -> None:
        self.parts.append(rule(self.middle, self.y, self.middle, self.y + GAP, "flow"))
        self.y += GAP


def block(name: str, layers: str, traits: Mapping[str, str]) -> Markup | None:
    """One of some `layers`, as `traits` in words tell of it, or None where they do not tell its order.

    The trait `block` is the order: norm → attention → + → norm → MLP → +. A step shows what the trait of its name says.
    """
    steps = [step.strip() for step in traits.get("block", "").split("→")]
    if steps == [""]:
        return None
    d = Drawing()
    d.parts.append(label(d.middle, 14, f"one of {layers}", size=11, anchor="middle", class_="muted"))
    is_post = steps[0] != "norm"
    since, weight = d.y + GAP / 2, ""
    for before, step in zip(["", *steps], steps, strict=False):
        if step.startswith("+"):
            told = step.removeprefix("+").strip()
            weight = weight if told == "…" else told  # likewise
            d.add(since, weight)
            since = d.y + GAP / 2
        elif step == "norm":
            d.box([_norm(traits.get("norm", "norm"))], "norm", size=11)
            if (is_post and before[:1] == "+") or "× norm" in traits["block"]:  # the branch starts behind the norm
                since = d.y + GAP / 2
        else:
            d.box(_words(step, traits), "attn" if step != "MLP" else "mlp")
    d.stream()
    d.parts.append(element("path", d=f"M{d.middle - 4} {d.y - 5:.1f}l4 5l4 -5", class_="flow"))
    return picture(WIDTH, d.y + 6, f"{name}: {traits['block']}", *d.parts)


def _words(step: str, traits: Mapping[str, str]) -> list[str]:
    """What a box says: attention with positions, the MLP's kind; wrapped, smaller lines below the first."""
    room = RIGHT - LEFT - 10
    if step == "attention":
        told = [traits.get("attention", step), traits.get("position", "")]
    else:
        told = [traits.get(step.lower(), step)]
    return [line for text in told if text for line in wrapped(text, room, TYPE)]


def _norm(words: str) -> str:
    return words.partition(",")[0]
