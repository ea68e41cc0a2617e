"""Regular expressions of Oniguruma, as tokenizers has them, as far as their cost needs them understood."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_PATTERN_CHARS = 8192
MAX_REPEATS = 1000  # of a bounded repetition, and of those within each other: the engine writes them out
MAX_NESTED = 20  # groups within groups
_GROUP = re.compile(r"\?(?:(?P<look><?[=!])|(?P<atomic>>)|(?P<named><[A-Za-z_]\w*>)|[imWDSPy-]*(?P<flags>[:)]))")
_QUANTIFIER = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<least>\d{1,9})?(?P<comma>,)?(?P<most>\d{1,9})?\})(?P<kind>[?+])?")
_ESCAPE = re.compile(r"\\(?:[pP]\{\^?[\w .\-=]*\}|x\{[^}]*\}|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)


class UnboundedPattern(Exception):
    """A pattern of a form that no tokenizer needs."""


@dataclass
class Node:
    """A part of a pattern; one that is of no other kind matches a single character or none."""

    min_bytes: int = 1  # of a text that it matches; regardless of case, a long letter may match a short one
    always_matches: bool = False
    source: str = ""

    @property
    def children(self) -> list[Node]:
        """The parts within."""
        if isinstance(self, Sequence):
            return self.parts
        if isinstance(self, Alternatives):
            return self.branches
        return [self.body] if isinstance(self, Repeat | Lookaround) else []


@dataclass
class Sequence(Node):
    """One part after the other."""

    parts: list[Node] = field(default_factory=list)


@dataclass
class Alternatives(Node):
    """One of several."""

    branches: list[Node] = field(default_factory=list)


@dataclass
class Repeat(Node):
    """`body` from `least` to `most` times, without end where that is None; an atomic one is never undone."""

    body: Node = field(default_factory=Node)
    least: int = 0
    most: int | None = None
    is_atomic: bool = False


@dataclass
class Lookaround(Node):
    """What must stand, or must not stand, before or after."""

    body: Node = field(default_factory=Node)


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises UnboundedPattern."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise UnboundedPattern(f"is longer than {MAX_PATTERN_CHARS:,} characters")
    reader = _Reader(pattern)
    tree = reader.alternatives(0)
    if reader.at < len(pattern):
        raise UnboundedPattern("has a closing bracket without an opening one")
    _check_repeats(tree, 1)
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def alternatives(self, depth: int) -> Node:
        if depth > MAX_NESTED:
            raise UnboundedPattern(f"has too many nested groups, more than {MAX_NESTED}")
        branches = [self.sequence(depth)]
        while self.text.startswith("|", self.at):
            self.at += 1
            branches.append(self.sequence(depth))
        if len(branches) == 1:
            return branches[0]
        least = min(branch.min_bytes for branch in branches)
        return Alternatives(least, any(branch.always_matches for branch in branches), branches=branches)

    def sequence(self, depth: int) -> Node:
        start, parts = self.at, []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            parts.append(self.repeated(self.single(depth)))
        least, always = sum(part.min_bytes for part in parts), all(part.always_matches for part in parts)
        return Sequence(least, always, self.text[start : self.at], parts=parts)

    def repeated(self, node: Node) -> Node:
        while (found := _QUANTIFIER.match(self.text, self.at)) and found[0] not in ("{}", "{,}"):
            self.at = found.end()
            if sign := found["sign"]:
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
                is_atomic = found["kind"] == "+"
            else:
                least = int(found["least"] or 0)
                most = int(found["most"]) if found["most"] else None if found["comma"] else least
                is_atomic = False
            node = Repeat(
                least * node.min_bytes, least == 0 or node.always_matches,
                body=node, least=least, most=most, is_atomic=is_atomic,
            )  # fmt: skip
            if found["kind"] == "+" and not found["sign"]:  # x{2,3}+ is that, once or more
                node = Repeat(node.min_bytes, node.always_matches, body=node, least=1)
        return node

    def single(self, depth: int) -> Node:
        char = self.text[self.at]
        if char == "(":
            return self.group(depth)
        if char == "[":
            return self.bracket()
        if char == "\\":
            return self.escape()
        self.at += 1
        if char in "^$":
            return Node(0)
        if char in "*+?":
            raise UnboundedPattern("repeats nothing")
        return Node()

    def group(self, depth: int) -> Node:
        self.at += 1
        found = None
        if self.text.startswith("?", self.at):
            if not (found := _GROUP.match(self.text, self.at)):
                raise UnboundedPattern(f"has a group of the form ({self.text[self.at : self.at + 3]}...")
            self.at = found.end()
            if found["flags"] == ")":
                return Node(0, True)
        elif self.text.startswith("*", self.at):
            raise UnboundedPattern("has a group of the form (*...")
        body = self.alternatives(depth + 1)
        if not self.text.startswith(")", self.at):
            raise UnboundedPattern("has a group that is not closed")
        self.at += 1
        if found and found["look"]:
            return Lookaround(0, body=body)
        if found and found["atomic"]:
            return Repeat(body.min_bytes, body.always_matches, body=body, least=1, most=1, is_atomic=True)
        return body

    def bracket(self) -> Node:
        depth = 0
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.escape()
                continue
            self.at += 1
            if char == "[":
                depth += 1
                self.at += self.text.startswith("^", self.at)
                self.at += self.text.startswith("]", self.at)
            elif char == "]" and (depth := depth - 1) == 0:
                return Node()
        raise UnboundedPattern("has a bracket that is not closed")

    def escape(self) -> Node:
        found = _ESCAPE.match(self.text, self.at)
        if not found:
            raise UnboundedPattern("ends with a backslash")
        self.at = found.end()
        letter = found[0][1]
        if letter in "kgK123456789":
            raise UnboundedPattern(f"has a back reference \\{letter}")
        return Node(0) if letter in "bBAzZGyY" else Node()


def _check_repeats(node: Node, times: int) -> None:
    if isinstance(node, Repeat):
        most = max(node.least, node.most or 1, 1)
        times *= most
        if times > MAX_REPEATS:
            raise UnboundedPattern(f"repeats more than {MAX_REPEATS:,} times")
        if node.most is not None and node.most < node.least:
            raise UnboundedPattern("has a repetition whose minimum is above its maximum")
    for child in node.children:
        _check_repeats(child, times)
