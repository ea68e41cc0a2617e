"""Where tokens stand in time, height and width: the rotary positions of Qwen2-VL (arXiv:2409.12191, section 2.1).

Apart from `model` because the rule is of its own, and not that of its reference: text goes on one after the largest
position so far, as in the paper and in the Qwen team's code (transformers#35569), and not after the largest of height
and width alone, as in transformers 5.23, where a long video's later frames and the text after it share positions.

Shapes: T tokens of one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import UsageError


@dataclass(frozen=True)
class Seen:
    """One image or video: tokens in time, height and width, and how far its time moves from each to the next."""

    sides: tuple[int, int, int]
    interval: float = 1.0

    @property
    def num_tokens(self) -> int:
        time, height, width = self.sides
        return time * height * width

    def positions(self) -> Tensor:
        """[3, number of tokens], from 0."""
        time, height, width = (torch.arange(side) for side in self.sides)
        time = (time.float() * self.interval).long()  # float32 as in the reference, whose rounding decides
        return torch.stack(torch.meshgrid(time, height, width, indexing="ij")).flatten(1)


def place(row: list[int], start: int, seen: Mapping[int, Iterator[Seen]]) -> tuple[Tensor, int]:
    """Positions [3, T] of the real tokens of one row, the first at `start`, and the position that comes after them.

    `seen` gives for each placeholder token the images or videos that it stands for, in turn.
    Raises UsageError where placeholders and images do not go together.
    """
    pieces, at, i = [], start, 0
    while i < len(row):
        if row[i] in seen:
            thing = next(seen[row[i]], None)
            end = i + (thing.num_tokens if thing else 0)
            if thing is None or row[i:end] != [row[i]] * (end - i):
                needed = f"{thing.num_tokens} tokens {row[i]} in a row" if thing else "no more images or videos"
                raise UsageError(f"the token {row[i]} at {i} starts an image or video, but there are {needed}")
            piece = thing.positions() + at
        else:
            end = next((j for j in range(i, len(row)) if row[j] in seen), len(row))
            piece = torch.arange(at, at + end - i).expand(3, -1)
        pieces.append(piece)
        at, i = int(piece.max()) + 1, end
    return (torch.cat(pieces, 1) if pieces else torch.empty(3, 0, dtype=torch.long)), at
