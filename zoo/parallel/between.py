"""States that each rank has a part of between the blocks that are cut, and all of within them (arXiv:2205.05198).

A layer goes on with its part of the tokens. What it calls either works on each token alone, as norms do, or is given
all tokens: those are gathered before it and its result is parted behind it. Where a block ends in a product that is cut
by columns, one reduce-scatter adds up and parts it. What all ranks have whole and use for their tokens alone, as the
weights of norms, has its gradients added up.

Shapes: B batch, T tokens of a text, t those of this rank, D hidden.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.parallel.anew import Anew, rows_of
from zoo.parallel.cutting import AsBefore, Held, cut_class, in_full
from zoo.parallel.exchange import alike, gathered, met, parted, scattered
from zoo.parallel.shares import bounds
from zoo.parallel.sums import Ranks, SharedInput


class Between:
    """Where the states of a pass stand: how many tokens the texts have while a rank's states are of a part of them."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.length = 0  # 0: the states are those of all tokens
        self.anew: Anew | None = None  # what the block that is computed was given
        self.given: Tensor | None = None  # what its last product gave, parted already

    def parts(self, length: int) -> bool:
        """Whether every rank has something of so many tokens; fewer are computed by each, as without parts."""
        first, last = bounds(length, self.ranks.count, self.ranks.count - 1)
        return first < last

    def own(self, x: Tensor) -> Tensor:
        """A rank's part of x [B, T, ...]; see zoo.nn.Span."""
        return parted(x, self.ranks, 1)


class OwnTokens(Held):
    """Parameters that a rank uses for its own tokens, where it has a part of them, and within a block for all."""

    def __init__(self, between: Between, entry: SharedInput) -> None:
        super().__init__(between.ranks, {}, entry)
        self.between = between

    def read(self, module: nn.Module, name: str) -> Tensor | None:
        """What the module computes with."""
        parameter, between = module._parameters[name], self.between
        if parameter is None or not between.length or between.anew is not None or self.is_elsewhere(parameter):
            return parameter
        return self.ranks.entered(parameter)


def part_layer(layer: nn.Module, between: Between, *, is_last: bool) -> None:
    """Let a layer compute with a part of the tokens, which the last of a row joins; it parts what comes whole."""
    for module in layer.modules():
        if module._parameters and "held" not in module.__dict__:
            names = tuple(name for name, parameter in module._parameters.items() if parameter is not None)
            module.held = OwnTokens(between, SharedInput(between.ranks))  # pyrefly: ignore[bad-argument-type]
            module.__class__ = cut_class(type(module), AsBefore, names)
    layer.between, layer.is_last = between, is_last  # pyrefly: ignore[bad-argument-type]
    layer.__class__ = cut_class(type(layer), _Layer, ())


def give_all(block: nn.Module, between: Between, rows: list[Any], last: Any) -> None:
    """Let a block compute with all tokens; `rows` are its parts cut by rows, `last` the one whose result it gives."""
    block.between, block.entry = between, rows[0].held.entry if rows else None  # pyrefly: ignore[bad-argument-type]
    block.__class__ = cut_class(type(block), _Block, ())
    for module, forward in (*((row, _Rows) for row in rows), *([(last, _Last)] if last is not None else [])):
        module.between = between
        module.__class__ = cut_class(type(module), forward, ())


class _Layer:
    """A layer whose states are a rank's part of the tokens."""

    def forward(self: Any, x: Tensor, span: Any, *more: Any, **named: Any) -> Tensor:
        between, length, call = self.between, span.num_new, super().forward  # pyrefly: ignore[missing-attribute]
        if not between.parts(length):
            return call(x, span, *more, **named)
        if x.shape[1] == length:
            x = parted(x, between.ranks, 1)
        between.length, span.own = length, between.own
        try:
            out = call(x, span, *more, **named)
        finally:
            between.length = 0
            del span.own
        if out.shape != x.shape:
            what = f"sp: {type(self).__name__} makes states of shape {list(out.shape)} of a part {list(x.shape)}"
            raise UsageError(what, hint="a class that says is_by_token does the same to each token alone")
        return gathered(out, between.ranks, 1, length) if self.is_last else out


class _Block:
    """A block that is given all tokens, and gives a rank's part of them."""

    def forward(self: Any, x: Tensor, *more: Any, **named: Any) -> Tensor:
        between, call = self.between, super().forward  # pyrefly: ignore[missing-attribute]
        if not between.length:
            return call(x, *more, **named)
        (apart,) = met((x,), between.ranks, 1, between.length)
        whole = alike(x, apart, between.ranks, 1)
        if self.entry is not None:
            self.entry.remember(whole, apart)
        between.anew, between.given = Anew(apart, x, between.ranks, between.length), None
        try:
            out = call(whole, *more, **named)
            given = between.given
        finally:
            between.anew = between.given = None
        if given is None:
            return parted(out, between.ranks, 1)
        if given is not out:
            what = f"sp: {type(self).__name__} changes what its last product gives, and says that it does not"
            raise UsageError(what, hint="let the class that writes forward not say `last_part`")
        return out


class _Rows:
    """A product by rows with all tokens, of which none is kept for the way back but a rank's own."""

    def forward(self: Any, x: Tensor) -> Tensor:
        anew, entered = self.between.anew, self.held.entry(x)
        if anew is None or entered is not anew.whole:
            return super().forward(x)  # pyrefly: ignore[missing-attribute]
        return rows_of(anew, self.weight, self.bias)


class _Last:
    """A product by columns whose results are added up and parted at once."""

    def forward(self: Any, x: Tensor) -> Tensor:
        between = self.between
        if between.anew is None or x.ndim != 3 or x.shape[1] != between.length:
            return super().forward(x)  # pyrefly: ignore[missing-attribute]
        out = scattered(in_full(x, self.weight), between.ranks, 1).to(x.dtype)
        out = out if self.bias is None else out + between.ranks.entered(self.bias)
        between.given = out
        return out
