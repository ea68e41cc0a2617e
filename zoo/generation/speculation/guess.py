"""What a draft says, and how much it is asked to say.

Shapes: n tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

FIRST, MOST = 5, 32  # tokens that are guessed at first, and at most, where nothing says how many

# (row, what was guessed after its text, logits [V] of a draft) -> the next guess, and shares [V] if it was drawn
Pick = Callable[[int, list[int], Tensor], tuple[int, Tensor | None] | None]


@dataclass(frozen=True)
class Guess:
    """Tokens that may follow, and for each the shares [V] that it was drawn by; None: it was not drawn."""

    tokens: list[int] = field(default_factory=list)
    shares: list[Tensor | None] = field(default_factory=list)

    def cut(self, length: int) -> Guess:
        """The first `length` tokens of it."""
        return Guess(self.tokens[:length], self.shares[:length])

    def share(self, number: int) -> Tensor | None:
        """What token `number` was drawn by."""
        return self.shares[number] if self.shares else None


class Pace:
    """How many tokens a row's draft is asked for: two more after a guess that stood, one fewer after another.

    `fixed` tokens stay what they are.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.fixed, self.num_tokens = fixed, fixed or FIRST

    def learn(self, num_guessed: int, num_right: int) -> None:
        """Take in how a guess did."""
        if self.fixed is None and num_guessed:
            more = 2 if num_right == num_guessed else -1
            self.num_tokens = min(max(1, self.num_tokens + more), MOST)
