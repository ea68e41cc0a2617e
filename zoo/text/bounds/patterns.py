"""What a regular expression of a tokenizer may cost: how often it can go back over a text before it gives up.

The engine backtracks. One repetition that something after it can fail makes the time grow with the square of the text,
two with its cube, and a repetition inside such a repetition without bound: those are refused, the others counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from zoo.text.bounds.pattern_parser import Alternatives, Lookaround, Node, Repeat, Sequence, UnboundedPattern, parse

__all__ = ["PatternCost", "UnboundedPattern", "cost_of"]

# Alternatives of the patterns that released models split by. Each can scan without success, and then another of the
# same pattern takes all that was scanned: `\s+` the spaces, the second of a pair the letters that the first did not.
_SPACES = (r"\s*[\r\n]+", r"\s*[\r\n]", r"\s*\r?\n", r"\s+(?!\S)", r"\s+$", r"\s++$")
_SCRIPTS = tuple(
    (rf"[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}{less}]", rf"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}{less}]")
    for less in ("", r"&&[^\p{Han}]")
)
_PLACES = [(a, b) for a in (r"[^\r\n\p{L}\p{N}]?", "") for b in ("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "")]
FAMILIAR: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_SPACES, (r"\s+", r"\s")),  # a single one does where `\s+(?!\S)` took all but the last
    **{f"{a}{up}*{low}+{b}": (f"{a}{up}+{low}*{b}",) for a, b in _PLACES for up, low in _SCRIPTS},
}


@dataclass(frozen=True)
class PatternCost:
    """Steps at one place of a text of n characters: at most `factor` * n ** `degree`."""

    degree: float = 0
    factor: float = 1
    min_bytes: int = 0  # the shortest match

    def steps(self, num_chars: int) -> float:
        """Steps over a whole text."""
        return num_chars * self.factor * float(num_chars) ** self.degree if self.degree < inf else inf


def cost_of(pattern: str) -> PatternCost:
    """The cost of `pattern`. Raises UnboundedPattern for a form without a bound, and for what is no pattern."""
    tree = parse(pattern)
    branches = tree.branches if isinstance(tree, Alternatives) else [tree]
    known = {branch.source for branch in branches}
    if r"\s+(?!\S)" not in known:
        known.discard(r"\s")
    rare = [branch for branch in branches if not known.intersection(FAMILIAR.get(branch.source, ()))]
    found = [_cost(branch, is_last=True) for branch in rare]
    return PatternCost(
        max(cost.degree for cost in found),  # some are rare: what is familiar has a companion that is not
        max(cost.factor for cost in found),
        min(branch.min_bytes for branch in branches),
    )


def _cost(node: Node, is_last: bool) -> PatternCost:
    """`is_last`: nothing that comes after can fail, so that nothing within is tried in another way."""
    if isinstance(node, Sequence):
        return _sequence(node, is_last)
    if isinstance(node, Alternatives):
        found = [_cost(branch, is_last) for branch in node.branches]
        factor = max(cost.factor for cost in found) if is_last else sum(cost.factor for cost in found)
        return PatternCost(max(cost.degree for cost in found), factor)
    if isinstance(node, Lookaround):
        return _cost(node.body, is_last=False)  # it reads without moving on
    if isinstance(node, Repeat):
        return _repeat(node, is_last)
    return PatternCost()


def _sequence(node: Sequence, is_last: bool) -> PatternCost:
    degree, factor = 0.0, 1.0
    for part in reversed(node.parts):
        cost = _cost(part, is_last)
        degree, factor = degree + cost.degree, factor * cost.factor
        is_last = is_last and part.always_matches
    return PatternCost(degree, factor)


def _repeat(node: Repeat, is_last: bool) -> PatternCost:
    is_free = is_last and node.least <= 1
    inner = _cost(node.body, is_free)
    if node.most is None:
        if is_last:
            return inner
        if not node.is_atomic and _is_endless(node.body):
            raise UnboundedPattern("has a repetition inside a repetition, which can take endless time")
        is_ambiguous = not node.is_atomic and _varies(node.body)
        return PatternCost(inf if is_ambiguous else inner.degree + 1, inner.factor)
    if is_free:
        return inner
    ways = (node.most - node.least + 1) * inner.factor**node.most
    return PatternCost(inner.degree * max(node.most, 1), min(ways, 1e12))


def _is_endless(node: Node) -> bool:
    return (isinstance(node, Repeat) and node.most is None) or any(map(_is_endless, node.children))


def _varies(node: Node) -> bool:
    """Whether a text may match `node` in more than one way."""
    varies = isinstance(node, Alternatives) or (isinstance(node, Repeat) and node.most != node.least)
    return varies or any(map(_varies, node.children))
