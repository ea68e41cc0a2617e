"""What `zoo diff` tells: two checkpoints, every tensor of theirs, and sums over layers and roles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.anatomy.records import ROLES, Shape
from zoo.difference.rounding import Fit
from zoo.difference.tally import Tally

if TYPE_CHECKING:
    from zoo.difference.rounded import RoundedWeights

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class ComparedWeights:
    """One of the two checkpoints, in words that are safe to print."""

    name: str
    family: str
    format: str
    num_tensors: int  # of ours
    dtypes: dict[str, int]  # of the files' tensors


@dataclass(frozen=True)
class TensorChange:
    """One weight by our name, in A and in B."""

    name: str
    role: str
    stack: str  # the module that its layer is in, as `layers`; empty outside
    layer: int | None
    shape: Shape  # of what is compared
    dtypes: tuple[str, str]  # as the files store it
    has_same_bits: bool
    tally: Tally
    fit: Fit | None = None  # how it lies about the other side's, where one side may be the other rounded

    @property
    def verdict(self) -> str:
        """`equal` to the bit, `same values` in other bits or another dtype, or `differs`."""
        return "equal" if self.has_same_bits else "differs" if self.tally.changed else "same values"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        where = {"name": self.name, "role": self.role, "stack": self.stack, "layer": self.layer}
        kind = {"shape": list(self.shape), "dtypes": list(self.dtypes), "verdict": self.verdict}
        return where | kind | numbers(self.tally)


@dataclass(frozen=True)
class Total:
    """Some tensors together."""

    tensors: int
    differing: int  # tensors that hold another value
    other_bits: int  # tensors that hold the same values in other bits
    tally: Tally

    @classmethod
    def of(cls, changes: Iterable[TensorChange]) -> Total:
        """The sums over some tensors."""
        found = [*changes]
        kinds = [change.verdict for change in found]
        tally = sum((change.tally for change in found), Tally())
        return cls(len(found), kinds.count("differs"), kinds.count("same values"), tally)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        counts = {"tensors": self.tensors, "differing": self.differing, "other_bits": self.other_bits}
        return counts | numbers(self.tally)


@dataclass(frozen=True)
class WeightDifference:
    """B against A: every weight that both have, and what only one has."""

    a: ComparedWeights
    b: ComparedWeights
    tensors: tuple[TensorChange, ...]
    only_a: dict[str, Shape] = field(default_factory=dict)
    only_b: dict[str, Shape] = field(default_factory=dict)
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)  # weights whose shapes differ
    config: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # fields that differ, beside the weights
    notes: tuple[str, ...] = ()
    coarser: str = ""  # the side that may be the other rounded: A, B, or neither

    @property
    def is_equal(self) -> bool:
        """Whether both have the same weights, equal to the bit."""
        return not (self.only_a or self.only_b or self.mismatched) and all(t.has_same_bits for t in self.tensors)

    @cached_property
    def total(self) -> Total:
        """All that was compared, together."""
        return Total.of(self.tensors)

    @cached_property
    def by_role(self) -> dict[str, Total]:
        """The sums for each role, in the order in which a token meets them."""
        found = self._by(lambda t: t.role)
        return {role: found[role] for role in (*ROLES, *sorted(found.keys() - {*ROLES})) if role in found}

    @cached_property
    def by_layer(self) -> dict[tuple[str, int | None], Total]:
        """The sums for each layer of each stack; ("", None) is what stands outside the layers."""
        found = self._by(lambda t: (t.stack, t.layer))
        return {key: found[key] for key in sorted(found, key=lambda key: (key[0], -1 if key[1] is None else key[1]))}

    @cached_property
    def cells(self) -> dict[tuple[str, int | None, str], Total]:
        """The sums for each role in each layer."""
        return self._by(lambda t: (t.stack, t.layer, t.role))

    @cached_property
    def rounding(self) -> RoundedWeights | None:
        """Whether one side is the other rounded, and what is beyond that; None where that is not to be asked."""
        from zoo.difference.rounded import RoundedWeights

        return RoundedWeights.of(self) if self.coarser else None

    def _by(self, key: Callable[[TensorChange], K]) -> dict[K, Total]:
        groups: dict[K, list[TensorChange]] = {}
        for change in self.tensors:
            groups.setdefault(key(change), []).append(change)
        return {name: Total.of(found) for name, found in groups.items()}

    def table(self, *, is_whole: bool = False) -> str:
        """The answer in lines; `is_whole` names every tensor that differs."""
        from zoo.difference.table import as_text

        return as_text(self, is_whole=is_whole)

    def html(self) -> str:
        """The answer with a picture, one page that needs no network and no script."""
        from zoo.difference.page import page

        return page(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values; a number that does not exist is null."""
        layers = [{"stack": s, "layer": n} | t.to_dict() for (s, n), t in self.by_layer.items()]
        return {
            "equal": self.is_equal,
            "a": vars(self.a),
            "b": vars(self.b),
            "total": self.total.to_dict(),
            "roles": {role: total.to_dict() for role, total in self.by_role.items()},
            "layers": layers,
            "tensors": [change.to_dict() for change in self.tensors],
            "only_a": {name: list(shape) for name, shape in self.only_a.items()},
            "only_b": {name: list(shape) for name, shape in self.only_b.items()},
            "mismatched": {name: [list(a), list(b)] for name, (a, b) in self.mismatched.items()},
            "config": {name: list(values) for name, values in self.config.items()},
            "notes": list(self.notes),
            "rounding": None if self.rounding is None else self.rounding.to_dict(),
        }

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from html import escape

        style = "width:100%;height:70vh;border:0"
        return f'<iframe title="zoo diff" style="{style}" srcdoc="{escape(self.html())}"></iframe>'


def numbers(tally: Tally) -> dict[str, Any]:
    """A tally as JSON values."""
    return {
        "elements": tally.numel, "changed": tally.changed, "not_finite": tally.not_finite,
        "relative": tally.relative, "max_abs": tally.largest, "cosine": tally.cosine,
    }  # fmt: skip
