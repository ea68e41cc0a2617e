"""Which tokens of a guess stand, so that what is said is distributed as if there had been no draft.

A drawn token stands with probability min(1, p / q), where the model says p and the draft q; where it falls, another is
drawn from what is left of p - q above 0 (arXiv:2211.17192, arXiv:2302.01318). For a token that was not drawn q is 1.
Shapes: n tokens of a guess, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.generation.config import GenerationConfig
from zoo.generation.decoding.sampling import draw, no_choice, shares
from zoo.generation.decoding.stopping import GrowingRow
from zoo.generation.history import History
from zoo.generation.processors import Processor, applied, processors_of, warpers_of
from zoo.generation.speculation.guess import Guess


class Judge:
    """Chooses the tokens of one row; what it draws comes from a generator of its own."""

    def __init__(
        self,
        config: GenerationConfig,
        row: GrowingRow,
        generator: torch.Generator | None,
        *,
        eos: Sequence[int],
        source: Sequence[int],
        device: torch.device,
        first: Sequence[Processor] = (),
        form: Processor | None = None,
        unguessed: frozenset[int] = frozenset(),
    ) -> None:
        """`source`, `first` and `form` as for a Sampler; `unguessed` are tokens that no guess may hold."""
        self.config, self.row, self.generator, self.unguessed = config, row, generator, sorted(unguessed)
        # What remembers which texts it has seen is asked about the row's own alone, never about a guess.
        self._light = processors_of(config, eos=eos, sources=[source])
        with_form = self._light if form is None else processors_of(config, eos=eos, sources=[source], form=form)
        self._processors = [*first, *with_form]
        self._warpers = warpers_of(config)
        self._history = History([row.prompt], [row.limit], device)
        self._vocab_size: int | None = None  # as the model's logits have it

    def judge(self, logits: Tensor, guess: Guess) -> int:
        """Push tokens into the row, given logits [n + 1, V] before each of the guess and after it: those that stand,
        and one more. Gives how many stood."""
        self._vocab_size = logits.shape[1]
        scores = logits.float()
        if not self._processors:
            scores = applied(self._warpers, self._history, scores)
        for number in range(len(guess.tokens) + 1):
            token, stands = self._choose(self._scores(scores[number : number + 1]), guess, number)
            self.row.push(token)
            if self._processors:
                self._history.append(torch.tensor([token], device=logits.device))
            if not stands or self.row.finish_reason:
                return number + stands
        return len(guess.tokens)

    def pick(self, guessed: list[int], logits: Tensor) -> tuple[int, Tensor | None] | None:
        """The next token of a guess from a draft's logits, and the shares [V] that it was drawn by.

        The draft is heated and held to the settings as the model is. None where nothing may follow.
        """
        scores = self._fitted(logits.float())[None]
        if self._light:
            history = self._history.part(torch.zeros(1, dtype=torch.long, device=logits.device))
            for token in guessed:
                history.append(torch.tensor([token], device=logits.device))
            scores = applied(self._light, history, scores)
        scores[:, [token for token in self.unguessed if token < scores.shape[1]]] = -torch.inf
        scores = applied(self._warpers, self._history, scores)
        if not bool(scores.amax().isfinite()):
            return None
        if self.config.is_greedy:
            return int(scores.argmax()), None
        return self._drawn(scores), shares(scores)[0]

    def admitted(self, guess: Guess) -> Guess:
        """A guess up to the first token that the model does not have, or that no guess may hold."""
        known = range(self._vocab_size or 0)
        wrong = (i for i, t in enumerate(guess.tokens) if t not in known or t in self.unguessed)
        return guess.cut(next(wrong, len(guess.tokens)))

    def _scores(self, scores: Tensor) -> Tensor:
        """Scores [1, V] as the settings change them. Raises ZooError where the best is not finite."""
        if not self._processors:
            return scores
        scores = applied(self._processors, self._history, scores)
        if not math.isfinite(best := float(scores.amax())):
            raise no_choice(best, self._history.num_new, self.config)
        return applied(self._warpers, self._history, scores)

    def _choose(self, scores: Tensor, guess: Guess, number: int) -> tuple[int, bool]:
        """The token that follows, and whether it is the one that was guessed."""
        has_guess = number < len(guess.tokens)
        if self.config.is_greedy:
            token = int(scores.argmax())
            return token, has_guess and token == guess.tokens[number]
        if not has_guess:
            return self._drawn(scores), False
        token, of_draft = guess.tokens[number], guess.share(number)
        p = shares(scores)
        q = torch.zeros_like(p).index_fill_(1, p.new_tensor([token], dtype=torch.long), 1.0)
        q = q if of_draft is None else of_draft[None]
        if float(self._uniform()) * float(q[0, token]) < float(p[0, token]):
            return token, True
        left = (p - q).clamp(min=0)
        return self._drawn(left.log() if bool(left.any()) else scores), False

    def _drawn(self, scores: Tensor) -> int:
        return int(draw(scores, self._uniform().to(scores.device)))

    def _uniform(self) -> Tensor:
        """A number [1] in [0, 1), drawn on the CPU: the same on every device."""
        return torch.rand(1, generator=self.generator, dtype=torch.float64)

    def _fitted(self, logits: Tensor) -> Tensor:
        """A draft's logits for the model's vocabulary, which may be larger or smaller."""
        assert self._vocab_size is not None
        missing = max(0, self._vocab_size - len(logits))
        return torch.nn.functional.pad(logits[: self._vocab_size], (0, missing), value=-torch.inf)
