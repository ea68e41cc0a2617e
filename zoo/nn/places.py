"""Where the new tokens of one forward pass stand, in rows that may be padded.

Shapes: B batch, T new tokens, W window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import UsageError


def has_values(x: Tensor) -> bool:
    """Whether Python may look at numbers in x: not on meta, and not while a graph is traced."""
    return not (x.is_meta or torch.compiler.is_compiling())


class Places:
    """Positions of T new tokens per row, `start` columns after the beginning.

    `padding` [B, T] tells real tokens (True) from padding; a row's positions count its real tokens only. `before` and
    `counts` [B] are how many real tokens each row has before and after this pass, or None where no row has ever been
    padded. Where an `attention_mask` of integers has numbers above 1, a row holds several documents: tokens of one
    number see each other alone, and each document's positions begin at 0. `documents` [B, T] are these numbers.
    Raises UsageError for an `attention_mask` of another shape than [B, T], and for several documents behind a cache.
    """

    def __init__(
        self,
        batch_size: int,
        num_new: int,
        device: torch.device,
        *,
        attention_mask: Tensor | None = None,
        start: int = 0,
        before: Tensor | None = None,
        has_cache: bool = False,
    ) -> None:
        if attention_mask is not None and attention_mask.shape != (batch_size, num_new):
            found = list(attention_mask.shape)
            what = f"attention_mask {found} does not have the shape [{batch_size}, {num_new}] of the tokens"
            raise UsageError(what, hint="mark only the tokens of this pass; the cache knows the earlier ones")
        self.num_new, self.device, self.start, self.before = num_new, device, start, before
        self.padding = None if attention_mask is None else attention_mask.bool()
        self.documents = None if attention_mask is None else _documents(attention_mask, has_cache)
        self.counts: Tensor | None = None
        self.is_stepwise = False
        self.may_have_padding = attention_mask is not None  # in this pass, not only before
        if self.padding is None and self.before is None:
            self.positions = torch.arange(start, start + num_new, device=device)[None]  # [1, T]
        else:
            self._place_rows(batch_size)
        self.depends_on_length = False  # whether anyone asked how long the texts are
        self._is_one_sided: bool | None = None
        self._stored: dict[int | None, tuple[Tensor, Tensor]] = {}
        self._stood: dict[int | None, Tensor] = {}

    def _place_rows(self, batch_size: int) -> None:
        if self.before is None:
            self.before = torch.full((batch_size,), self.start, device=self.device)
        if self.padding is None:
            self.padding = torch.ones(batch_size, self.num_new, dtype=torch.bool, device=self.device)
        number = self.padding.long().cumsum(1)
        self.positions = self.before[:, None] + (number - 1).clamp(min=0)  # [B, T]
        if self.documents is not None:
            begins = self.documents != torch.cat((torch.zeros_like(self.documents[:, :1]), self.documents[:, :-1]), 1)
            self.positions = self.positions - self.positions.where(begins, 0).cummax(1).values
        self.counts = self.before + number[:, -1]

    @property
    def lengths(self) -> Tensor:
        """Tokens per row after this pass, [B], or [1] where all rows are alike.

        Where each token is taken as the last of its text, those up to each, and where a row holds several documents,
        those of each token's: [B or 1, T].
        """
        self.depends_on_length = True
        if self.is_stepwise:
            return self.positions + 1
        if self.documents is not None:
            return (self.documents[:, :, None] == self.documents[:, None, :]).sum(-1)  # of each token's document
        return torch.full((1,), self.start + self.num_new, device=self.device) if self.counts is None else self.counts

    def last(self, x: Tensor) -> Tensor:
        """Each row's last real token of x [B, T, D]: [B, 1, D]."""
        if self.padding is None:
            return x[:, -1:]
        column = (self.padding * torch.arange(1, self.num_new + 1, device=self.device)).argmax(1)
        return x[torch.arange(x.shape[0], device=x.device), column][:, None]

    def stored(self, window: int | None) -> tuple[Tensor, Tensor]:
        """(row, column) of the new real tokens that a cache of `window` slots must keep (None: all)."""
        if window not in self._stored:
            assert self.padding is not None
            assert self.counts is not None
            if not self.may_have_padding and (window is None or self.num_new <= window):  # all, known without a look
                shape = self.positions.shape
                rows, columns = (torch.arange(size, device=self.device) for size in shape)
                self._stored[window] = rows[:, None].expand(shape).flatten(), columns.expand(shape).flatten()
                return self._stored[window]
            keep = self.padding
            if window is not None:
                keep = keep & (self.positions >= self.counts[:, None] - window)
            row, column = keep.nonzero(as_tuple=True)
            self._stored[window] = row, column
        return self._stored[window]

    def stood(self, window: int | None) -> Tensor:
        """The positions of what `stored` tells of: every layer that keeps as much asks for the same."""
        if window not in self._stood:
            self._stood[window] = self.positions[self.stored(window)]
        return self._stood[window]

    def ring_order(self, window: int, size: int) -> Tensor:
        """Slots of a ring of `size` that hold the W tokens before this pass, oldest first, for unpadded rows."""
        return torch.arange(max(0, self.start - window), self.start, device=self.device) % size

    @property
    def has_padding_on_one_side(self) -> bool:
        """Whether every row's new real tokens are consecutive columns with padding before or behind them alone."""
        if self._is_one_sided is None:
            self._is_one_sided = self.padding is None or _is_one_sided(self.padding)
        return self._is_one_sided


def _documents(mask: Tensor, has_cache: bool) -> Tensor | None:
    """The mask, where its numbers tell documents apart. A graph, which may not look at them, takes them to do so."""
    if mask.dtype == torch.bool or mask.is_floating_point() or mask.is_meta:
        return None
    if torch.compiler.is_compiling():
        return None if has_cache else mask
    if not mask.numel() or int(mask.max()) <= 1:
        return None
    if has_cache:
        raise UsageError("attention_mask numbers several documents, and a cache holds one in each row")
    return mask


def _is_one_sided(padding: Tensor) -> bool:
    if not has_values(padding):
        return False  # what the mask holds is not known to a graph, which must hold for any, nor on meta
    borders = (padding[:, 1:] != padding[:, :-1]).sum(1)
    return bool((borders <= 1).all())
