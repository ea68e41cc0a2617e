"""What a draft was good for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class DraftReport:
    """Counts of one generation; `plain_passes` are those that it would have taken without the draft."""

    passes: int = 0  # of the model, the prompt's among them
    plain_passes: int = 0
    num_guessed: int = 0  # tokens, over all rows
    num_right: int = 0  # of them those that stood

    @property
    def acceptance(self) -> float | None:
        """The share of guessed tokens that stood; None where nothing was guessed."""
        return self.num_right / self.num_guessed if self.num_guessed else None

    @property
    def speedup(self) -> float:
        """Passes without the draft for each pass with it: what can be gained at most, were the draft free."""
        return self.plain_passes / self.passes if self.passes else 1.0

    def take(self, num_guessed: int, num_right: int) -> None:
        """Count what became of a row's guess."""
        self.num_guessed += num_guessed
        self.num_right += num_right

    def finish_pass(self, lengths: Sequence[int]) -> None:
        """Count a pass after which rows have so many new tokens."""
        self.passes += 1
        self.plain_passes = max(lengths)

    def __str__(self) -> str:
        if self.acceptance is None:
            return f"no guess, {self.passes} passes"
        right = f"{self.num_right} of {self.num_guessed} guesses right ({self.acceptance:.0%})"
        return f"{right}, {self.passes} passes for {self.plain_passes} ({self.speedup:.1f}x)"
