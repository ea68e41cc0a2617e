"""A state that can go back a few tokens, as drafts need: it is computed once more from where it was before them.

Shapes: B batch, T tokens of a pass, W tokens before them that a layer keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from zoo.nn.places import Places
from zoo.nn.state_cache import StateCache

# (state before a pass, what the pass read, [B] how many of each row's real tokens to read) -> the state behind these
Retrace = Callable[[dict[str, Tensor], dict[str, Tensor], Tensor], dict[str, Tensor]]


@dataclass
class _Pass:
    """What a pass read, by name, each [B, ...], and the state that it began with; `ends` fall as tokens go."""

    before: dict[str, Tensor]
    read: dict[str, Tensor]
    width: int
    starts: list[int]  # real tokens of each row before the pass
    ends: list[int]  # and behind it


class RetracedCache(StateCache):
    """A StateCache whose layer says how to go back: after `look_ahead` it `note`s each pass.

    Rows may go back by different numbers of tokens. What lies further back than `look_ahead` asked for is refused.
    """

    def __init__(self, retrace: Retrace, **state: Tensor) -> None:
        super().__init__(**state)
        self._retrace = retrace
        self._ahead: int | None = None  # tokens that may be taken back at a time; None: none, and nothing is noted
        self._passes: list[_Pass] = []  # the latest at the end

    @property
    def can_rewind(self) -> bool:  # type: ignore[override]  # of a class of states it is False
        """Whether tokens can be taken back: they can once someone has asked for it."""
        return self._ahead is not None

    @property
    def can_join(self) -> bool:
        """Whether its rows can move to another cache as they are: not with the passes of one that looks ahead."""
        return self._ahead is None

    @property
    def nbytes(self) -> int:
        kept = (x for one in self._passes for held in (one.before, one.read) for x in held.values())
        return super().nbytes + sum(x.nbytes for x in kept)

    def look_ahead(self, num_tokens: int) -> None:
        """See `Cache.look_ahead`."""
        self._ahead = num_tokens

    def note(self, before: dict[str, Tensor], read: dict[str, Tensor], span: Places) -> None:
        """Keep what a pass began with and read, where its tokens may be taken back.

        A longer pass than can be a guess is that of a prompt, of which only the end is kept: the state itself.
        """
        if self._ahead is None:
            return
        if span.num_new > self._ahead + 1:
            self._passes = []
            return
        size = len(next(iter(self.state.values())))
        starts = [span.start] * size if span.before is None else span.before.tolist()
        ends = [start + span.num_new for start in starts] if span.counts is None else span.counts.tolist()
        self._passes.append(_Pass(before, read, span.num_new, starts, ends))
        while sum(one.width for one in self._passes[1:]) > self._ahead:
            self._passes.pop(0)

    def reorder(self, index: Tensor) -> None:
        super().reorder(index)
        rows = index.tolist()
        for one in self._passes:
            one.before, one.read = ({name: x[index] for name, x in held.items()} for held in (one.before, one.read))
            one.starts, one.ends = [one.starts[i] for i in rows], [one.ends[i] for i in rows]

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        assert self.can_join, "the rows of a draft are its own"
        return super().joined(others, index, num_slots, used)

    def rewind(self, length: int, before: int) -> None:
        size = len(next(iter(self.state.values())))
        self.rewind_rows([length] * size, [before] * size)

    def rewind_rows(self, lengths: Sequence[int], before: Sequence[int]) -> None:
        """Forget all but the first `lengths[b]` of `before[b]` tokens. Raises UsageError where that is too far back."""
        oldest = self._passes[0].starts if self._passes else before
        for length, seen, least in zip(lengths, before, oldest, strict=True):
            if length and length < min(seen, least):
                super().rewind(length, seen)  # which says why not
        for one in reversed(self._passes):  # each begins with what the one before left
            if any(length < end for length, end in zip(lengths, one.ends, strict=True)):
                self._go_back(one, lengths)
        if gone := [row for row, length in enumerate(lengths) if length == 0]:
            self.state = {
                name: x.index_fill(0, x.new_tensor(gone, dtype=torch.long), 0) for name, x in self.state.items()
            }
        self._passes = [one for one in self._passes if any(s < e for s, e in zip(one.starts, one.ends, strict=True))]

    def _go_back(self, one: _Pass, lengths: Sequence[int]) -> None:
        """Let the rows that end within a pass, or before it, have the state that was there."""
        like = next(iter(self.state.values()))
        pairs = list(zip(lengths, one.starts, one.ends, strict=True))
        counts = torch.tensor([max(0, min(length, end) - start) for length, start, end in pairs], device=like.device)
        is_back = torch.tensor([length < end for length, _, end in pairs], device=like.device)
        found = self._retrace(one.before, one.read, counts)
        self.state = {
            name: torch.where(is_back.view(-1, *[1] * (x.ndim - 1)), found[name], x) for name, x in self.state.items()
        }
        one.ends = [min(length, end) for length, _, end in pairs]  # below its start: the row has nothing of it left
