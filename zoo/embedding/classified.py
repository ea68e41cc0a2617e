"""What `zoo.classify` gives: inputs, the scores of their classes, and how these came about. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Classified:
    """One text, pair of texts or picture, or one token of a text, and what each class scores."""

    name: str
    kind: str  # text | pair | image | token
    scores: dict[str, float]  # by class, the highest first
    tokens: list[Classified] = field(default_factory=list)  # of a classifier of tokens
    place: tuple[int, int] | None = None  # of a token: its characters
    pair: tuple[str, str] | None = None  # of a pair: its two texts

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "place": None if self.place is None else list(self.place),
            "pair": None if self.pair is None else list(self.pair),
            "scores": self.scores,
            "tokens": [token.to_dict() for token in self.tokens],
        }


@dataclass(frozen=True)
class Classes:
    """What was classified, and how scores came about."""

    inputs: list[Classified]
    source: str
    family: str
    how: str  # softmax | sigmoid | score
    labels: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "source": self.source, "family": self.family, "how": self.how, "labels": self.labels,
            "inputs": [one.to_dict() for one in self.inputs], "notes": self.notes,
        }  # fmt: skip


def told_apart(names: Sequence[str]) -> list[str]:
    """The names of classes, with their numbers where several are called the same: ImageNet has two cranes."""
    count = Counter(names)
    return [name if count[name] == 1 else f"{name} (class {number})" for number, name in enumerate(names)]
