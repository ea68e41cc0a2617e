"""The links inside the documentation: where each points, and whether it is there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


def links(page: str) -> Iterator[str]:
    """Targets of the links of a page, those to other sites left out."""
    for target in LINK.findall(INLINE.sub("", FENCE.sub("", page))):
        if not re.match(r"[a-z]+:", target):
            yield target


def broken(pages: dict[str, str]) -> list[str]:
    """`PAGE -> TARGET` for each link to a page or a heading that is not there; `pages` is Markdown by path."""
    found = []
    for path, text in pages.items():
        for target in links(text):
            file, _, anchor = target.partition("#")
            goal = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)) if file else path
            if goal not in pages or (anchor and anchor not in anchors(pages[goal])):
                found.append(f"{path} -> {target}")
    return found


def anchors(page: str) -> set[str]:
    """What the headings of a page are called in links."""
    titles = re.findall(r"^#+ +(.*)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w]+", "-", title.lower()).strip("-") for title in titles}
