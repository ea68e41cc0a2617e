"""The rows that take their steps together, and the cache that they share.

Shapes: R rows, V vocab.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.generation.batching.member import Member
from zoo.generation.decoding.threads import InOneThread, one_thread


class Group:
    """Members with caches of their own lengths; who leaves makes place between two steps."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.cache: Any = None

    def regroup(self, newcomers: list[tuple[list[Member], Any]]) -> None:
        """Keep those who do not leave, and add others with their caches, of which each row is a member's."""
        back = [member for members, _ in newcomers for member in members]  # some with a cache that was read anew
        stay = [i for i, member in enumerate(self.members) if not (member.leaves or member in back)]
        if len(stay) == len(self.members) and not newcomers:
            return
        rows = [*self.members, *back]
        caches = [*([] if self.cache is None else [self.cache]), *(cache for _, cache in newcomers)]
        index = [*stay, *(i for i in range(len(self.members), len(rows)) if not rows[i].leaves)]
        self.members = [rows[i] for i in index]
        if not index:
            self.cache = None
        elif len(caches) > 1 or len(index) < len(rows):
            max_len = max(cache.max_len for cache in caches)
            with one_thread(isinstance(self.members[0].job.model, InOneThread)):
                self.cache = caches[0].joined(caches[1:], index, max_len=max_len)
        else:
            self.cache = caches[0]
        if len(index) > 1:
            for member in self.members:
                member.is_exact = False

    def read(self) -> Tensor:
        """Logits [R, V] after each member's last token."""
        first = self.members[0]
        tokens = torch.tensor([[member.last] for member in self.members], device=first.device)
        return first.job.model(tokens, cache=self.cache, last=True)[:, -1]
