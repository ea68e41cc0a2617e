"""A request that cannot share a batch: made as `zoo.generate` makes it, a step at a time where there are steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo.generation.batching.request import Growth, Request, scored
from zoo.generation.job import GenerationJob


class Soloist:
    """The rows of one request, stepping by themselves. A beam search is one step."""

    def __init__(self, request: Request, job: GenerationJob) -> None:
        self.request, self.job = request, job
        self._steps: Iterator[object] | None = None
        self._told = [0] * len(job.rows)
        self._texts = [""] * len(job.rows)

    @property
    def is_done(self) -> bool:
        """Whether the next one may begin."""
        return self.request.is_cancelled or all(row.finish_reason for row in self.job.rows)

    def step(self) -> list[Growth]:
        """What each row grew by. Raises ZooError for what is wrong with the request."""
        if self.job.config.num_beams > 1:
            self.job.refuse_with_beams(logprobs=self.request.num_top is not None)
            self.job.search()
            return [self._piece(number, None) for number in range(len(self.job.rows))]
        self._steps = self._steps or self.job.steps(number=self.request.number)
        logits = next(self._steps)
        assert isinstance(logits, torch.Tensor)
        grown = [n for n, row in enumerate(self.job.rows) if len(row.tokens) > self._told[n]]
        return [self._piece(number, logits[number, -1]) for number in grown]

    def _piece(self, number: int, logits: torch.Tensor | None) -> Growth:
        row = self.job.rows[number]
        new, text = row.tokens[self._told[number] :], row.take()
        self._told[number], self._texts[number] = len(row.tokens), self._texts[number] + text
        if row.finish_reason and self.job.form:
            self.job.form.check(row.tokens, self._texts[number])
        top = self.request.num_top
        scores = () if logits is None or top is None else tuple(scored(logits, token, top) for token in new)
        return Growth(self.request, number, text, tuple(new), scores, row.finish_reason)
