"""The beams of one prompt, or of one group of them, and what becomes of them at each step. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from zoo.generation.config import GenerationConfig

DEAD = -1e9  # as good as impossible, yet finite: sums of it stay ordered


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence: its new tokens and its score."""

    tokens: list[int]
    score: float


@dataclass
class Search:
    """Open sequences with their log probabilities, and the best finished ones."""

    config: GenerationConfig
    limit: int
    size: int  # beams
    is_end: Callable[[list[int]], bool]  # whether new tokens end a text with their last one
    beams: list[list[int]] = field(init=False)
    scores: list[float] = field(init=False)
    finished: list[Hypothesis] = field(default_factory=list)
    can_improve: bool = True
    is_at_limit: bool = False

    def __post_init__(self) -> None:
        # All beams begin alike: only the first counts, or N times the same sequence would fill them.
        self.beams, self.scores = [[] for _ in range(self.size)], [0.0] + [DEAD] * (self.size - 1)

    @property
    def is_full(self) -> bool:
        """Whether as many sequences are finished as there are beams."""
        return len(self.finished) == self.size

    @property
    def is_done(self) -> bool:
        """Whether nothing that is still open can change the answer."""
        is_early = self.config.early_stopping is True and self.is_full
        return self.is_at_limit or not self.can_improve or is_early

    def advance(self, scores: list[float], choices: list[int], vocab_size: int) -> list[int]:
        """Take continuations (beam * V + token), the first chosen first; gives the beam that each new one grew from."""
        is_last = len(self.beams[0]) + 1 == self.limit
        ended: list[Hypothesis] = []
        grown: list[tuple[int, int, float]] = []
        spent: list[tuple[int, int, float]] = []  # go on where nothing else does, as good as impossible
        for rank, (score, choice) in enumerate(zip(scores, choices, strict=True)):
            beam, token = divmod(choice, vocab_size)
            if not is_last and not self.is_end([*self.beams[beam], token]):
                grown.append((beam, token, score))
                continue
            spent.append((beam, token, score + DEAD))
            if rank < self.size and score > -math.inf:  # the others are spares, so that N stay open
                ended.append(self._ended([*self.beams[beam], token], score))
        self.finished = sorted(self.finished + ended, key=lambda h: -h.score)[: self.size]
        if is_last:
            self.is_at_limit = True
            return [*range(self.size)]
        grown = sorted(grown + spent, key=lambda g: -g[2])[: self.size]  # drawn ones come in the order of drawing
        self.beams, self.scores = [[*self.beams[b], t] for b, t, _ in grown], [s for _, _, s in grown]
        self._judge()
        return [beam for beam, _, _ in grown]

    def _ended(self, tokens: list[int], score: float) -> Hypothesis:
        return Hypothesis(tokens, score / len(tokens) ** self.config.length_penalty)

    def _judge(self) -> None:
        """Whether the best open beam can still beat the worst finished one, by the rule early_stopping asks for."""
        optimist = self.config.early_stopping == "never" and self.config.length_penalty > 0
        length = self.limit if optimist else len(self.beams[0])
        best = self.scores[0] / length**self.config.length_penalty
        self.can_improve &= not self.is_full or best > self.finished[-1].score
