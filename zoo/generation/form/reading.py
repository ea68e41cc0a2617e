"""How far a text has come in its form, and what keeps it so that it can be completed in the tokens that are left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

FAR = 64  # tokens left beyond which nothing is looked for


@dataclass
class FormState:
    """A matcher that has read a text, and what is known of its end."""

    tokens: tuple[int, ...]
    matcher: Any
    tight: Any = None  # a matcher of the form within a length, that has read the same
    way: tuple[int, ...] | None = None  # tokens that are known to complete the text

    def after(self, token: int) -> FormState:
        """The reading with one token more, which must be allowed."""
        both = [None if m is None else m.deep_copy() for m in (self.matcher, self.tight)]
        for matcher in both:
            if matcher is not None:
                matcher.try_consume_tokens([token])
        way = self.way[1:] if self.way and self.way[0] == token else self.way
        return replace(self, tokens=(*self.tokens, token), matcher=both[0], tight=both[1], way=way)


class Closing(Protocol):
    """Finds which tokens leave a text that can be completed."""

    def narrowed(self, state: FormState, allowed: Tensor, scores: Tensor, left: int) -> Tensor:
        """Those of the `allowed` tokens, bool [V], from which `left` tokens with them can complete the text.

        Where none is found all stay: the text ends unfinished, and `Form.check` says so.
        """
        ...


def unpacked(bits: bytes, count: int) -> Tensor:
    """One bit a token, the lowest first, as bool [count]; tokens beyond the bits may not follow."""
    octets = torch.frombuffer(bytearray(bits), dtype=torch.uint8)
    found = (octets[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).bool().flatten()[:count]
    return torch.cat((found, torch.zeros(count - len(found), dtype=torch.bool)))
