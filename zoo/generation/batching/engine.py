"""The engine: a queue, a group of rows that step together, and a place for what cannot join it.

In float32 a text is that which `zoo.generate` gives for its prompt alone, whatever its neighbours are: see ties.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError, ZooError
from zoo.generation.batching.alone import Soloist
from zoo.generation.batching.beginnings import Beginnings
from zoo.generation.batching.group import Group
from zoo.generation.batching.member import Member
from zoo.generation.batching.reading import Settling, opened, reread, scores_of_prompt
from zoo.generation.batching.request import Growth, QueueFull, Request
from zoo.generation.batching.slices import LONG, LongPrompts, Slices
from zoo.generation.batching.ties import Slack, is_clear
from zoo.generation.decoding.loop import check_finite
from zoo.generation.job import GenerationJob
from zoo.generation.protocols import LanguageModel, TokenizerLike
from zoo.nn.joining import can_join

PROMPTS = 2  # read between two steps at most, while other texts wait for their next token
PASSES = 4  # of a text that is read again, between two steps


class Engine:
    """Makes the texts of many requests; `step` is to be called again and again, by one thread."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: TokenizerLike | None = None,
        *,
        max_rows: int = 8,
        max_waiting: int = 64,
        beginnings: Beginnings | None = None,
    ) -> None:
        """`beginnings` keeps what was read of prompts for others that begin alike."""
        self.model, self.tokenizer, self.max_rows, self.max_waiting = model, tokenizer, max_rows, max_waiting
        self.beginnings, self.group = beginnings, Group()
        self.can_join: bool | None = None  # None: not known before the first prompt was read
        self.slack = Slack()
        self.num_reread = 0  # texts that were read again by themselves, because rounding could have turned a choice
        self._waiting: deque[Request] = deque()
        self._settling: list[Settling] = []
        self._long = LongPrompts()
        self._newcomers: list[tuple[list[Member], Any]] = []
        self._soloists: deque[Soloist] = deque()

    @property
    def num_waiting(self) -> int:
        """Requests that have not begun."""
        return len(self._waiting) + max(0, len(self._soloists) - 1)

    @property
    def num_rows(self) -> int:
        """Texts in the making."""
        joining = sum(len(members) for members, _ in self._newcomers) + self._long.num_rows
        here = sum(not member.leaves for member in self.group.members)
        return here + len(self._settling) + joining + bool(self._soloists)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self.num_rows)

    def submit(self, request: Request) -> None:
        """Queue a request. Raises QueueFull where there is no room, UsageError for more texts than there are rows."""
        if request.config.num_return_sequences > self.max_rows:
            raise UsageError(f"{request.config.num_return_sequences} texts are asked for, and {self.max_rows} are most")
        if self.num_waiting >= self.max_waiting:
            raise QueueFull(f"{self.num_waiting} requests are waiting already", hint="try again later")
        self._waiting.append(request)

    @torch.inference_mode()
    def step(self) -> list[Growth]:
        """Begin what waits, and bring each text on by a token; gives what is new of them."""
        self._waiting = deque(request for request in self._waiting if not request.is_cancelled)
        self._settling = [settling for settling in self._settling if not settling.member.is_done]
        pieces: list[Growth] = []
        self._admit(pieces)
        self.group.regroup(self._newcomers)
        self._newcomers = []
        if self.group.members:
            self._choose_all(self.group.members, self.group.read(), pieces)
        for settling in [*self._settling]:
            self._guarded(settling.member.request, pieces, partial(self._settle, settling, pieces))
        if (read_by_now := self._long.advance()) is not None:
            request, slices = read_by_now
            self._guarded(request, pieces, lambda: self._seat(request, slices.result(), pieces))
        self._advance_soloist(pieces)
        if all(member.leaves for member in self.group.members):
            self.group.regroup([])  # and holds no memory while there is nothing to do
        return pieces

    def reset(self) -> list[Request]:
        """Drop everything, as after an error that was nobody's in particular; gives the requests that end so."""
        members = [
            *self.group.members,
            *(s.member for s in self._settling),
            *(m for ms, _ in self._newcomers for m in ms),
        ]
        long = self._long.reset()
        ended = [*(m.request for m in members), *long, *(s.request for s in self._soloists), *self._waiting]
        self.group, self._settling, self._newcomers = Group(), [], []
        self._soloists.clear()
        self._waiting.clear()
        return list(dict.fromkeys(ended))

    def _admit(self, pieces: list[Growth]) -> None:
        most = PROMPTS if self.group.members or self._soloists else self.max_rows
        while self._waiting and most and not (self._soloists and self.can_join is False):
            if self.num_rows + self._waiting[0].config.num_return_sequences > self.max_rows:
                return
            request, most = self._waiting.popleft(), most - 1
            self._guarded(request, pieces, partial(self._begin, request, pieces))

    def _begin(self, request: Request, pieces: list[Growth]) -> None:
        if request.scores_prompt:  # at once: for `states` the model gives no logits, nobody's
            request.prompt_scores = scores_of_prompt(self.model, request)
        known = {"tokenizer": self.tokenizer, "beginnings": self.beginnings, "is_alone": self.can_join is False}
        work = partial(opened, self.model, request, **known)
        if len(request.prompt) > LONG and self.max_rows > 1:
            self._long.add(request, Slices(self.model, work))
        else:
            self._seat(request, work(), pieces)

    def _seat(self, request: Request, made: tuple[GenerationJob, Any] | None, pieces: list[Growth]) -> None:
        """Give a request whose prompt was read its rows."""
        if made is None:
            numbers = range(request.config.num_return_sequences)
            pieces.extend(Growth(request, number, finish_reason="length") for number in numbers)
            return
        job, found = made
        if found is not None and self.can_join is None:
            self.can_join = can_join(found[0])
        if found is None or not self.can_join:
            self._soloists.append(Soloist(request, job))
            return
        cache, logits, is_exact = found
        members = [Member(request, job, number) for number in range(len(job.rows))]
        for member in members:
            member.is_exact = is_exact
        self._newcomers.append((members, cache))
        self._choose_all(members, logits, pieces)

    def _choose_all(self, members: list[Member], logits: Tensor, pieces: list[Growth]) -> None:
        """Choose the next token of every member by logits [R, V]."""
        largest = logits.abs().amax(-1).tolist()
        is_precise = logits.dtype in (torch.float32, torch.float64)
        best = logits.topk(min(2, logits.shape[-1]))  # of all at once: most take the likeliest
        values, indices = best.values.tolist(), best.indices.tolist()
        for number, member in enumerate(members):
            slack = self.slack.of(largest[number]) if is_precise else 0.0
            likeliest = values[number], indices[number][0]
            work = partial(self._choose, member, logits[number], largest[number], slack, likeliest, pieces)
            self._guarded(member.request, pieces, work)

    def _choose(
        self,
        member: Member,
        logits: Tensor,
        largest: float,
        slack: float,
        likeliest: tuple[list[float], int],
        pieces: list[Growth],
    ) -> None:
        if not math.isfinite(largest) and not member.job.config.remove_invalid_values:
            check_finite(logits[None, None], len(member.row.tokens))
        if member.is_plain and math.isfinite(largest):
            values, token = likeliest
            if len(values) > 1 and values[0] == values[1]:
                token = int(logits.argmax())  # of equals the first, as it is alone
            token = token if member.is_exact or not slack or is_clear(values, slack) else None
        else:
            token = member.decided(logits[None], slack)
        if token is None:
            self.num_reread += 1
            member.is_away = True
            self._settling.append(Settling(member, logits, reread(member, self.model)))
            return
        member.take(token, logits)
        pieces.append(member.told())

    def _settle(self, settling: Settling, pieces: list[Growth]) -> None:
        member = settling.member
        for _ in range(PASSES if len(member.request.prompt) <= LONG else 1):
            if (found := next(settling.passes)) is not None:
                cache, logits = found
                self.slack.learn(settling.logits, logits[0])
                self._settling.remove(settling)
                member.is_exact, member.is_away = True, False
                self._newcomers.append(([member], cache))
                self._choose_all([member], logits, pieces)
                return

    def _advance_soloist(self, pieces: list[Growth]) -> None:
        while self._soloists and self._soloists[0].is_done:
            self._soloists.popleft()
        if self._soloists:
            soloist = self._soloists[0]
            self._guarded(soloist.request, pieces, lambda: pieces.extend(soloist.step()))

    def _guarded(self, request: Request, pieces: list[Growth], work: Callable[[], object]) -> None:
        """Do what is one request's own: what goes wrong there ends that request alone."""
        try:
            work()
        except ZooError as error:
            request.is_cancelled = True
            pieces.append(Growth(request, 0, error=error))
