"""Beam search with transformers' scores and stopping rules: the best beams, drawn ones, or groups that keep apart.

Shapes: B prompts, N beams, G groups of n = N / G beams, R = B*N rows, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.generation.config import GenerationConfig
from zoo.generation.decoding.loop import check_finite, make_room, open_cache
from zoo.generation.decoding.prefill import read_prompts
from zoo.generation.decoding.sampling import generators, no_choice
from zoo.generation.decoding.search import Hypothesis, Search
from zoo.generation.history import NOTHING, History
from zoo.generation.processors import GroupDiversity, Processor, applied, processors_of, warpers_of
from zoo.generation.prompts import Batch
from zoo.generation.protocols import LanguageModel, TokenizerLike


@torch.inference_mode()
def beam_search(
    model: LanguageModel,
    batch: Batch,
    config: GenerationConfig,
    *,
    eos: frozenset[int],
    limits: Sequence[int],
    sources: Sequence[Sequence[int]] = (),
    form: Processor | None = None,
    tokenizer: TokenizerLike | None = None,
) -> list[list[Hypothesis]]:
    """The `num_return_sequences` best hypotheses of each prompt, the best first; `limits` are new tokens of each.

    Stop texts end a hypothesis as end tokens do, where there is a `tokenizer` to spell it.
    """
    num_beams = config.num_beams
    cache = open_cache(model, batch, limits)
    ends = [_ends(row, config, eos, tokenizer) for row in batch.rows]
    beams = Beams(batch, config, eos, limits, sources or batch.rows, form, ends)
    logits = read_prompts(model, cache, batch, len(batch.rows) * num_beams)
    for step in range(max(limits)):
        if not config.remove_invalid_values:
            check_finite(logits, step)
        origin = beams.advance(logits[:, -1].float().log_softmax(-1))
        if beams.is_done:
            break
        cache.reorder(torch.tensor(origin, device=logits.device))
        make_room(cache, [limit for limit in limits for _ in range(num_beams)], step + 1)
        logits = model(beams.history.tokens[:, -1:], cache=cache, last=True)
    return beams.best()


def _ends(
    prompt: list[int], config: GenerationConfig, eos: frozenset[int], tokenizer: TokenizerLike | None
) -> Callable[[list[int]], bool]:
    """Whether new tokens end a text: by an end token, or by a stop text that they complete."""

    def is_end(tokens: list[int]) -> bool:
        if tokens[-1] in eos or not config.stop or tokenizer is None:
            return tokens[-1] in eos
        spelt = tokenizer.decode_stream(prompt)
        text = "".join(map(spelt.push, tokens))
        return any(stop in text for stop in config.stop)

    return is_end


class Beams:
    """The searches of all prompts and groups, in step with the rows of the model's batch."""

    def __init__(
        self,
        batch: Batch,
        config: GenerationConfig,
        eos: frozenset[int],
        limits: Sequence[int],
        sources: Sequence[Sequence[int]],
        form: Processor | None,
        ends: Sequence[Callable[[list[int]], bool]],
    ) -> None:
        self.config, self.eos, self.groups = config, eos, config.num_beam_groups
        self.size = config.num_beams // self.groups
        self.searches = [
            [Search(config, limit, self.size, is_end) for _ in range(self.groups)]
            for limit, is_end in zip(limits, ends, strict=True)
        ]
        of_beams = [i for i in range(len(batch.rows)) for _ in range(config.num_beams)]
        device = batch.tokens.device
        self.history = History([batch.rows[i] for i in of_beams], [limits[i] for i in of_beams], device)
        self.diversity = GroupDiversity(config.diversity_penalty) if config.diversity_penalty else None
        self.processors = processors_of(config, eos=sorted(eos), sources=sources, diversity=self.diversity, form=form)
        self.warpers = warpers_of(config, keep=max(2, 1 + len(eos)))
        self._generators = [] if config.is_greedy else generators(config.seed, len(batch.rows))

    @property
    def is_done(self) -> bool:
        """Whether all answers stand."""
        return all(search.is_done for groups in self.searches for search in groups)

    def advance(self, scores: Tensor) -> list[int]:
        """Extend every beam by log probabilities [R, V]; gives the rows that the cache must keep, [R]."""
        rows = torch.arange(scores.shape[0], device=scores.device).view(len(self.searches), self.groups, self.size)
        origin, chosen = rows.clone(), torch.full_like(rows, NOTHING)
        for group in range(self.groups):
            of_group = rows[:, group].flatten()
            if self.diversity:
                self.diversity.chosen = chosen[:, :group].flatten(1).repeat_interleave(self.size, 0)
            best = self._candidates(scores[of_group], self.history.part(of_group), group)
            for i, (values, choices) in enumerate(best):
                search = self.searches[i][group]
                if search.is_done:
                    continue
                wrong = next((value for value in values if not value < torch.inf), max(values))
                if not math.isfinite(wrong):
                    raise no_choice(wrong, self.history.num_new, self.config)
                grown_from = search.advance(values, choices, scores.shape[1])
                if not search.is_at_limit:
                    origin[i, group] = rows[i, group, grown_from]
                    chosen[i, group] = torch.tensor([beam[-1] for beam in search.beams])
        self.history.reorder(origin.flatten())
        self.history.append(chosen.flatten().clamp(min=0))  # a search that is done is fed on with anything
        return origin.flatten().tolist()

    def best(self) -> list[list[Hypothesis]]:
        """The best finished sequences of each prompt, of all its groups. Raises ZooError where there are too few."""
        count = self.config.num_return_sequences
        found = []
        for groups in self.searches:
            ended = sorted((h for search in groups for h in search.finished), key=lambda h: -h.score)[:count]
            if len(ended) < count:
                raise ZooError(f"the beams found {len(ended)} texts, and num_return_sequences={count} were asked for")
            found.append(ended)
        return found

    def _candidates(self, scores: Tensor, history: History, group: int) -> list[tuple[list[float], list[int]]]:
        """Of each prompt the best continuations of a group, or drawn ones: summed scores, and beam * V + token."""
        scores = applied([*self.processors, *self.warpers], history, scores)
        sums = [score for groups in self.searches for score in groups[group].scores]
        scores = scores + torch.tensor(sums, device=scores.device)[:, None]
        count = min(max(2, 1 + len(self.eos)) * self.size, self.size * scores.shape[1])
        scores = scores.view(len(self.searches), -1)  # [B, n*V]
        order = self._keys(scores).topk(count).indices
        return list(zip(scores.gather(1, order).tolist(), order.tolist(), strict=True))

    def _keys(self, scores: Tensor) -> Tensor:
        """What the candidates are ordered by: scores, or scores with Gumbel noise, which draws without replacement."""
        if self.config.is_greedy:
            return scores
        width = scores.shape[1]
        draws = torch.stack([torch.rand(width, generator=g, dtype=torch.float64) for g in self._generators])
        return scores - (-draws.clamp(min=1e-300).log()).log().to(scores.device, scores.dtype)
