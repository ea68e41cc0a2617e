"""The keys that a layer attends to: where they stand, and what that spares.

A cache gives keys and values, and says with a `Keys` where they stand. A cache of a new kind needs only
`Keys(positions)`: the mask is then worked out of the positions. The kinds below know more, and spare work by it.

Shapes: B batch, T new tokens, S keys, W window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.nn.mask import ChunkMask, Mask
from zoo.nn.places import Places


class Keys:
    """Keys at `positions` [B or 1, S], in any order; below 0 where there is none.

    Layers share masks and biases for keys that are equal, which these are to themselves alone.
    """

    def __init__(self, positions: Tensor) -> None:
        self._positions = positions

    def positions(self, places: Places) -> Tensor:
        """Where the keys stand [B or 1, S], below 0 where there is none."""
        return self._positions

    def are_complete(self, places: Places) -> bool:
        """Whether there is a key everywhere."""
        return False

    def are_consecutive(self, places: Places) -> bool:
        """Whether they are those of consecutive tokens, the new ones last: a window can be cut out by index."""
        return False

    def need_no_mask(self, mask: Mask, places: Places) -> bool:
        """Whether `mask` hides none of them from anyone, or, from the first of all tokens on, later ones only."""
        return False


@dataclass(frozen=True)
class WholeText(Keys):
    """Keys of all tokens so far, in order."""

    def are_complete(self, places: Places) -> bool:
        return places.counts is None

    def need_no_mask(self, mask: Mask, places: Places) -> bool:
        if places.counts is not None or not mask.hides_none_of(places.start + places.num_new):
            return False
        return not mask.is_causal or places.start == 0 or places.num_new == 1


@dataclass(frozen=True)
class NewKeys(WholeText):
    """Keys of the new tokens themselves, where there is no cache or it was empty."""

    def positions(self, places: Places) -> Tensor:
        return places.positions if places.padding is None else places.positions.masked_fill(~places.padding, -1)

    def are_consecutive(self, places: Places) -> bool:
        return places.has_padding_on_one_side


@dataclass(frozen=True)
class SlotKeys(WholeText):
    """Keys in slots that have their tokens' numbers; those behind a row's last token hold none."""

    def positions(self, places: Places) -> Tensor:
        slots = torch.arange(places.start + places.num_new, device=places.device)[None]
        return slots if places.counts is None else slots.masked_fill(slots >= places.counts[:, None], -1)

    def are_consecutive(self, places: Places) -> bool:
        return places.counts is None


@dataclass(frozen=True)
class RingKeys(Keys):
    """Keys of the W tokens before the new ones, then theirs; in a padded batch those of all slots, in their order."""

    window: int
    spare: int = 0  # slots beyond W

    def positions(self, places: Places) -> Tensor:
        return torch.cat((self._past(places), NEW.positions(places)), 1)

    def are_complete(self, places: Places) -> bool:
        return places.counts is None

    def are_consecutive(self, places: Places) -> bool:
        return places.counts is None  # the slots of a ragged ring are not in order

    def _past(self, places: Places) -> Tensor:
        if places.before is None:
            return torch.arange(max(0, places.start - self.window), places.start, device=places.device)[None]
        newest = places.before[:, None] - 1
        size = self.window + self.spare
        slots = torch.arange(size, device=places.device)[None]
        return newest - (newest - slots) % size  # below 0 where nothing was stored yet


@dataclass(frozen=True)
class LatestKeys(Keys):
    """Keys of a ring that holds a single new token, in the ring's order: it sees them all unless there are spares."""

    window: int
    spare: int = 0  # slots beyond W

    def positions(self, places: Places) -> Tensor:
        size = self.window + self.spare
        slots = torch.arange(min(places.start + 1, size), device=places.device)[None]
        return places.start - (places.start - slots) % size

    def are_complete(self, places: Places) -> bool:
        return True

    def need_no_mask(self, mask: Mask, places: Places) -> bool:
        return (mask.is_plain and self.spare == 0) or mask.hides_none_of(places.start + 1)


@dataclass(frozen=True)
class TracedKeys(Keys):
    """The same with every slot, empty ones too: one graph for rings that are full and such that are not."""

    size: int  # slots

    def positions(self, places: Places) -> Tensor:
        slots = torch.arange(self.size, device=places.device)[None]
        return places.start - (places.start - slots) % self.size


@dataclass(frozen=True)
class ChunkKeys(Keys):
    """Keys of a single new token's chunk up to its own, which are just those that a mask of such chunks shows."""

    size: int  # tokens of a chunk

    def positions(self, places: Places) -> Tensor:
        first = places.start - places.start % self.size
        return torch.arange(first, places.start + 1, device=places.device)[None]

    def are_complete(self, places: Places) -> bool:
        return True

    def need_no_mask(self, mask: Mask, places: Places) -> bool:
        return isinstance(mask, ChunkMask) and mask.window == self.size


NEW = NewKeys()
SLOTS = SlotKeys()
