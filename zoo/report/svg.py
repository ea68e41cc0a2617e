"""SVG and HTML as text: elements whose attributes and contents are escaped."""

from __future__ import annotations

import textwrap
from html import escape

ADVANCE = 0.64  # width of a letter, in sizes of its type: a wide sans serif's, half bold


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: object) -> Markup:
    """<name ...>children</name>: strings are escaped, Markup is not; `class_` is class, `stroke_width` stroke-width."""
    shown = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(number(v))}"' for key, v in attributes.items())
    inside = "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    return Markup(f"<{name}{shown}>{inside}</{name}>")


def number(value: object) -> str:
    """A value as an attribute; fractions of a pixel are cut to tenths."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def picture(
    width: float,
    height: float,
    name: str,
    *parts: Markup,
    class_: str = "",
    widest: float | None = None,
    narrowest: float = 0,
) -> Markup:
    """An <svg> that readers of the screen are told the `name` of; it scales to `widest` pixels, its width, at most.

    Where it would be narrower than `narrowest`, what is around it scrolls.
    """
    return element(
        "svg", *parts, viewBox=f"0 0 {number(width)} {number(height)}", role="img", aria_label=name, class_=class_,
        style=f"max-width:{number(widest or width)}px" + (f";min-width:{number(narrowest)}px" if narrowest else ""),
    )  # fmt: skip


def label(x: float, y: float, text: str, *, size: float = 12, anchor: str = "start", class_: str = "") -> Markup:
    """A line of text that ends, begins or is centred at x, on the base line y."""
    extra = {"class_": class_} if class_ else {}
    return element("text", text, x=x, y=y, font_size=size, text_anchor=anchor, **extra)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str = "rule") -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Lines of `text` that fit into `width` at a type of `size`, as few as can be and then as even as can be."""
    room = max(4, int(width / (ADVANCE * size)))
    lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    while room > 4 and len(closer := textwrap.wrap(text, room - 1, break_on_hyphens=False)) <= len(lines):
        room, lines = room - 1, closer or [""]
    return lines


def fits(text: str, width: float, size: float) -> bool:
    """Whether a line of text is no wider than `width` at a type of `size`."""
    return len(text) * ADVANCE * size <= width
