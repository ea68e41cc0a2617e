"""Places in a module by their bytes, and the edits of them that the careless changes are made of."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from tables import OPERATORS


@dataclass(frozen=True)
class Change:
    """Put `text` where a module has the bytes from `start` to `end`."""

    line: int
    scope: str  # the function that holds it, named as in __qualname__; "" where it runs at import
    kind: str
    start: int
    end: int
    text: str


class Edits(ast.NodeVisitor):
    """The bytes of a module's nodes, and what was found to change in them."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.starts = [0, *(at.end() for at in re.finditer(rb"\n", source))]
        self.scope: list[str] = []
        self.depth = 0  # of functions within functions
        self.even: list[ast.expr] = []  # differences whose sign goes lost
        self.found: list[Change] = []

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.expr) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def put(self, kind: str, start: int, end: int, text: str) -> None:
        line = self.source.count(b"\n", 0, start) + 1
        self.found.append(Change(line, ".".join(self.scope) if self.depth else "", kind, start, end, text))

    def replace(self, kind: str, node: ast.expr | ast.stmt, text: str) -> None:
        self.put(kind, *self.span(node), text)

    def swap(self, kind: str, first: ast.expr, second: ast.expr) -> None:
        (start, middle), (then, end) = self.span(first), self.span(second)
        if first is not second and self.text(first) != self.text(second):
            self.put(kind, start, end, self.text(second) + self.source[middle:then].decode() + self.text(first))

    def operator(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> None:
        """Another operator between two operands, where brackets may stand too."""
        old, new = OPERATORS.get(type(operator), ("", ""))
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.source[start:end]
        at = gap.find(old.encode())
        if old and at >= 0 and b"#" not in gap:
            self.put(f"{old} for {new}", start + at, start + at + len(old), new)

    def drop(
        self, kind: str, all_of_them: list[ast.expr | ast.keyword] | list[ast.expr], one: ast.expr | ast.keyword
    ) -> None:
        """Leave one of several out, with the comma at its side."""
        spans = sorted(map(self.span, all_of_them))
        at = spans.index(self.span(one))
        if at:
            self.put(kind, spans[at - 1][1], spans[at][1], "")
        else:
            self.put(kind, spans[0][0], spans[1][0] if len(spans) > 1 else spans[0][1], "")
