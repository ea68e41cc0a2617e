"""Where the tokens of one forward pass stand, worked out once and shared by all layers.

Shapes: B batch, T new tokens, S keys, W window.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn.cache import Cache
from zoo.nn.mask import Mask
from zoo.nn.rope import Rope, Rotation


def has_values(x: Tensor) -> bool:
    """Whether Python may look at numbers in x: not on meta, and not while a graph is traced."""
    return not (x.is_meta or torch.compiler.is_compiling())


class Span:
    """Positions of T new tokens per row, `start` columns after the beginning.

    `padding` [B, T] tells real tokens (True) from padding; a row's positions count its real tokens only. `counts` [B]
    is how many real tokens each row has after this pass, or None where no row has ever been padded. Rotary embeddings
    take `rotary_positions` where they are given: those of tokens that stand for images are no single numbers. `reach`
    [B or 1, T], where it is set, is the last position that each token sees under a causal mask, if it is a later one.
    Raises UsageError for an `attention_mask` of another shape than [B, T], and for a cache with no room.
    """

    def __init__(
        self,
        batch_size: int,
        num_new: int,
        device: torch.device,
        *,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        rotary_positions: Tensor | None = None,
    ) -> None:
        if cache is not None:
            cache.check(batch_size, num_new)
        if attention_mask is not None and attention_mask.shape != (batch_size, num_new):
            found = list(attention_mask.shape)
            what = f"attention_mask {found} is not of the shape [{batch_size}, {num_new}] of the tokens"
            raise UsageError(what, hint="mark the tokens of this pass; a cache knows those before")
        self.num_new, self.device = num_new, device
        self.start = 0 if cache is None else cache.length
        self.before = None if cache is None else cache.counts
        self.padding = None if attention_mask is None else attention_mask.bool()
        self.counts: Tensor | None = None
        if self.padding is None and self.before is None:
            self.positions = torch.arange(self.start, self.start + num_new, device=device)[None]  # [1, T]
        else:
            self._place_rows(batch_size)
        self.rotary_positions = rotary_positions
        self.reach: Tensor | None = None
        self._is_one_sided: bool | None = None
        self._rotations: dict[int, Rotation] = {}
        self._biases: dict[tuple[int, str], Tensor] = {}
        self._allowed: dict[tuple[Mask, str], Tensor | None] = {}
        self._stored: dict[int | None, tuple[Tensor, Tensor]] = {}

    def _place_rows(self, batch_size: int) -> None:
        if self.before is None:
            self.before = torch.full((batch_size,), self.start, device=self.device)
        if self.padding is None:
            self.padding = torch.ones(batch_size, self.num_new, dtype=torch.bool, device=self.device)
        number = self.padding.long().cumsum(1)
        self.positions = self.before[:, None] + (number - 1).clamp(min=0)  # [B, T]
        self.counts = self.before + number[:, -1]

    @property
    def lengths(self) -> Tensor:
        """Tokens per row after this pass, [B], or [1] where all rows are alike."""
        return torch.tensor([self.start + self.num_new], device=self.device) if self.counts is None else self.counts

    def rotation(self, rope: Rope, dtype: torch.dtype) -> Rotation:
        """cos and sin of `rope` at the new positions, computed by the first layer that asks."""
        if id(rope) not in self._rotations:
            lengths = self.lengths if rope.depends_on_length else None
            positions = self.positions if self.rotary_positions is None else self.rotary_positions
            self._rotations[id(rope)] = rope(positions, dtype, lengths)
        return self._rotations[id(rope)]

    def bias(self, bias: Callable[[Tensor, Tensor], Tensor], kind: str) -> Tensor:
        """What `bias` adds to the scores of the new queries and keys of this kind, computed by the first that asks."""
        key = (id(bias), kind)
        if key not in self._biases:
            self._biases[key] = bias(self.positions[:, :, None], self.key_positions(kind)[:, None, :])
        return self._biases[key]

    def last(self, x: Tensor) -> Tensor:
        """Each row's last real token of x [B, T, D]: [B, 1, D]."""
        if self.padding is None:
            return x[:, -1:]
        column = (self.padding * torch.arange(1, self.num_new + 1, device=self.device)).argmax(1)
        return x[torch.arange(x.shape[0], device=x.device), column][:, None]

    def key_positions(self, kind: str) -> Tensor:
        """Positions [B or 1, S] of the keys a cache returned as of this kind."""
        if kind == "new":
            return self.positions
        if kind == "slots":
            return torch.arange(self.start + self.num_new, device=self.device)[None]
        shape, _, window = kind.partition(" ")
        if shape == "all":
            slots = torch.arange(min(self.start + 1, int(window)), device=self.device)[None]
            return self.start - (self.start - slots) % int(window)
        return torch.cat((self._ring_positions(int(window)), self.positions), 1)

    def allowed(self, mask: Mask, kind: str) -> Tensor | None:
        """Who may attend to whom, [B or 1, T, S]; None: everyone, to every key or (see `is_causal`) every earlier."""
        key = (mask, kind)
        if key not in self._allowed:
            self._allowed[key] = None if self._needs_no_mask(mask, kind) else self._build(mask, kind)
        return self._allowed[key]

    def is_causal(self, mask: Mask, kind: str) -> bool:
        """Whether plain causal attention, queries and keys being the same tokens, is what `mask` asks for."""
        return self.num_new > 1 and mask.is_causal and self.allowed(mask, kind) is None

    def is_banded(self, mask: Mask, kind: str) -> bool:
        """Whether keys and queries stand in order, so that a window can be cut out of them by index."""
        is_band = mask.window is not None and mask.is_causal and self.reach is None
        return is_band and self.num_new > (mask.window or 0) and self._is_orderly(kind)

    def stored(self, window: int | None) -> tuple[Tensor, Tensor]:
        """(row, column) of the new real tokens that a cache of `window` slots must keep (None: all)."""
        if window not in self._stored:
            assert self.padding is not None
            assert self.counts is not None
            keep = self.padding
            if window is not None:
                keep = keep & (self.positions >= self.counts[:, None] - window)
            row, column = keep.nonzero(as_tuple=True)
            self._stored[window] = row, column
        return self._stored[window]

    def ring_order(self, window: int) -> Tensor:
        """Slots of a ring that holds the W tokens before this pass, oldest first, for unpadded rows."""
        return torch.arange(max(0, self.start - window), self.start, device=self.device) % window

    def _ring_positions(self, window: int) -> Tensor:
        if self.before is None:
            return torch.arange(max(0, self.start - window), self.start, device=self.device)[None]
        newest = self.before[:, None] - 1
        slots = torch.arange(window, device=self.device)[None]
        return newest - (newest - slots) % window  # below 0 where nothing was stored yet

    def _needs_no_mask(self, mask: Mask, kind: str) -> bool:
        if kind.startswith("all"):
            return True
        if self.counts is not None or self.reach is not None or kind.startswith("ring"):
            return False
        total = self.start + self.num_new
        is_wide = mask.window is None or mask.window >= total
        return is_wide and (not mask.is_causal or self.start == 0 or self.num_new == 1)

    def _build(self, mask: Mask, kind: str) -> Tensor:
        keys = self.key_positions(kind)
        q, k = self.positions[:, :, None], keys[:, None, :]
        allowed = mask(q, k)
        if self.reach is not None and mask.is_causal:
            allowed = allowed | ((k > q) & (k <= self.reach[:, :, None]))
        if (real := self._real_keys(kind, keys)) is not None:
            allowed = allowed & real[:, None, :]
        if self.padding is not None and kind != "slots":
            # A query with no key at all, which only padding is, sees itself: a row of softmax without keys is NaN.
            alone = ~allowed.any(-1, keepdim=True)
            allowed[..., -self.num_new :] |= alone & torch.eye(self.num_new, dtype=torch.bool, device=self.device)
        return allowed

    def _real_keys(self, kind: str, keys: Tensor) -> Tensor | None:
        if kind == "slots":
            return None if self.counts is None else keys < self.counts[:, None].clamp(min=1)
        if kind == "new":
            return self.padding
        past = keys[:, : keys.shape[1] - self.num_new] >= 0
        new = past.new_ones(past.shape[0], self.num_new) if self.padding is None else self.padding
        return torch.cat((past, new), 1)

    def _is_orderly(self, kind: str) -> bool:
        if kind != "new" and self.counts is not None:
            return False  # the slots of a ragged ring are not in order
        if self._is_one_sided is None:
            self._is_one_sided = self._has_padding_on_one_side()
        return self._is_one_sided

    def _has_padding_on_one_side(self) -> bool:
        if self.padding is None:
            return True
        if not has_values(self.padding):
            return False  # what the mask holds is not known to a graph, which must hold for any, nor on meta
        borders = (self.padding[:, 1:] != self.padding[:, :-1]).sum(1)
        return bool((borders <= 1).all())
