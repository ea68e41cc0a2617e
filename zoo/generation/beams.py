"""Beam search with transformers' scores and stopping rules.

Shapes: B prompts, N beams, V vocab.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.generation.config import GenerationConfig
from zoo.generation.loop import check_finite, open_cache
from zoo.generation.prompts import Batch
from zoo.generation.protocols import LanguageModel
from zoo.generation.sampling import ban, banned_next, nothing_left, penalise_repeats

DEAD = -1e9  # as good as impossible, yet finite: sums of it stay ordered


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence: its new tokens and its score."""

    tokens: list[int]
    score: float


@dataclass
class Search:
    """The beams of one prompt: open sequences with their log probabilities, and the best finished ones."""

    prompt: list[int]
    config: GenerationConfig
    limit: int
    beams: list[list[int]]
    scores: list[float]
    finished: list[Hypothesis] = field(default_factory=list)
    can_improve: bool = True

    @property
    def is_full(self) -> bool:
        """Whether as many sequences are finished as there are beams."""
        return len(self.finished) == self.config.num_beams

    @property
    def is_done(self) -> bool:
        """Whether nothing that is still open can change the answer."""
        return not self.can_improve or (self.config.early_stopping is True and self.is_full)

    def advance(self, scores: list[float], choices: list[int], vocab_size: int, eos: frozenset[int]) -> list[int]:
        """Take the best continuations (beam * V + token), best first; gives the beam that each new one grew from."""
        is_last = len(self.beams[0]) + 1 == self.limit
        ended: list[Hypothesis] = []
        grown: list[tuple[int, int, float]] = []
        for rank, (score, choice) in enumerate(zip(scores, choices, strict=True)):
            beam, token = divmod(choice, vocab_size)
            if token not in eos and not is_last:
                grown.append((beam, token, score))
            elif rank < self.config.num_beams and score > -torch.inf:  # the others are spares, so that N stay open
                ended.append(self._ended([*self.beams[beam], token], score))
        if not self.is_done:
            self.finished = sorted(self.finished + ended, key=lambda h: -h.score)[: self.config.num_beams]
        grown = grown[: self.config.num_beams]
        if not is_last:
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


@torch.inference_mode()
def beam_search(
    model: LanguageModel, batch: Batch, config: GenerationConfig, *, eos: frozenset[int], limit: int
) -> list[Hypothesis]:
    """The best hypothesis for each prompt."""
    num_beams = config.num_beams
    cache = open_cache(model, len(batch.rows) * num_beams, batch.width, limit)
    searches = [_begin(row, config, limit) for row in batch.rows]
    tokens = batch.tokens.repeat_interleave(num_beams, 0)
    mask = None if batch.mask is None else batch.mask.repeat_interleave(num_beams, 0)
    for step in range(limit):
        logits = model(tokens, attention_mask=mask, cache=cache, last=True)
        check_finite(logits, step)
        origin = _advance_all(searches, logits[:, -1].float().log_softmax(-1), eos)
        if step + 1 == limit or all(search.is_done for search in searches):
            break
        cache.reorder(torch.tensor(origin, device=tokens.device))
        tokens = torch.tensor([[beam[-1]] for search in searches for beam in search.beams], device=tokens.device)
        mask = None
    return [search.finished[0] for search in searches]


def _begin(prompt: list[int], config: GenerationConfig, limit: int) -> Search:
    # All beams begin alike: only the first counts, or N times the same sequence would fill them.
    scores = [0.0] + [DEAD] * (config.num_beams - 1)
    return Search(prompt, config, limit, [[] for _ in scores], scores)


def _advance_all(searches: list[Search], scores: Tensor, eos: frozenset[int]) -> list[int]:
    """Extend every beam by the log probabilities [B*N, V]; gives the rows that the cache must keep, [B*N]."""
    num_beams, vocab_size = searches[0].config.num_beams, scores.shape[-1]
    scores = _process(scores, searches, sorted(eos))
    scores = scores + torch.tensor([s for search in searches for s in search.scores], device=scores.device)[:, None]
    count = min(max(2, 1 + len(eos)) * num_beams, num_beams * vocab_size)
    best = scores.view(len(searches), -1).topk(count)
    origin: list[int] = []
    for i, (values, choices) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        if values[0] == -torch.inf and not searches[i].is_done:
            raise nothing_left(len(searches[i].beams[0]))
        grown = searches[i].advance(values, choices, vocab_size, eos)
        origin += [i * num_beams + beam for beam in grown]
    return origin


def _process(scores: Tensor, searches: list[Search], eos: list[int]) -> Tensor:
    config = searches[0].config
    pairs = [(search.prompt + beam, len(beam)) for search in searches for beam in search.beams]
    if config.repetition_penalty != 1:
        seen = torch.zeros_like(scores, dtype=torch.bool)
        for i, (tokens, _) in enumerate(pairs):
            seen[i, [t for t in tokens if t < scores.shape[1]]] = True
        scores = penalise_repeats(scores, seen, config.repetition_penalty)
    banned = [banned_next(tokens, num_new, config, eos) for tokens, num_new in pairs]
    return ban(scores, banned) if any(banned) else scores
