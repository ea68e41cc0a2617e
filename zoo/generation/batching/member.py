"""One text in the making among others.

Shapes: V vocab.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from zoo.generation.batching.request import Growth, Request, TokenScore, scored
from zoo.generation.batching.ties import is_clear, is_drawn_clearly
from zoo.generation.decoding.sampling import Sampler
from zoo.generation.job import GenerationJob
from zoo.generation.protocols import device_of


class Member:
    """A row, what chooses its tokens, and what of it has not been told yet."""

    def __init__(self, request: Request, job: GenerationJob, number: int) -> None:
        self.request, self.job, self.number, self.row = request, job, number, job.rows[number]
        self.device = device_of(job.model)
        self.sampler = Sampler(
            job.config, [self.row], sorted(job.eos), self.device, sources=job.sources, form=copy(job.form),
            number=request.number + number,
        )  # fmt: skip
        self.is_exact = True  # whether its cache holds, bit for bit, what it would hold if the text stood alone
        self.is_plain = job.config.is_greedy and not self.sampler.processors  # takes what the model says
        self.is_away = False  # while its text is read again by itself
        self._text, self._untold, self._scores = "", [], []

    _untold: list[int]
    _scores: list[TokenScore]

    @property
    def is_done(self) -> bool:
        """Whether its row is free for another."""
        return self.row.finish_reason is not None or self.request.is_cancelled

    @property
    def leaves(self) -> bool:
        """Whether it takes no further step with the others for now."""
        return self.is_done or self.is_away

    @property
    def last(self) -> int:
        """The token that is to be read next."""
        return self.row.tokens[-1]

    def decided(self, logits: Tensor, slack: float) -> int | None:
        """The next token by raw logits [1, V]; None where errors of `slack` could choose another."""
        scores = self.sampler.process(logits.float())
        if self.is_exact or not slack:
            return int(self.sampler.chosen(scores))
        if self.job.config.is_greedy:
            best = scores.topk(min(2, scores.shape[-1]))
            return int(best.indices[0, 0]) if is_clear(best.values[0].tolist(), slack) else None
        return is_drawn_clearly(self.sampler, scores, slack)

    def take(self, token: int, logits: Tensor) -> None:
        """Add the next token, which was chosen from raw logits [V]."""
        if not self.is_plain:
            self.sampler.history.append(torch.tensor([token], device=self.device))
        self.row.push(token)
        self._untold.append(token)
        if self.request.num_top is not None:
            self._scores.append(scored(logits, token, self.request.num_top))

    def told(self) -> Growth:
        """What is new. Raises ZooError for a finished text that is not of the form that was asked for."""
        text = self.row.take()
        self._text += text
        if self.row.finish_reason and self.job.form:
            self.job.form.check(self.row.tokens, self._text)
        tokens, self._untold = tuple(self._untold), []
        scores, self._scores = tuple(self._scores), []
        return Growth(self.request, self.number, text, tokens, scores, self.row.finish_reason)
