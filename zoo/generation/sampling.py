"""From logits to the next token. The processors are those of transformers, in its order, number for number.

Shapes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.generation.config import GenerationConfig
from zoo.generation.stopping import GrowingRow


class Sampler:
    """Chooses the next token of every row.

    Row i draws from a generator of its own, seeded with (seed, i), on the CPU: what a row draws depends neither on
    the other rows nor on the device, and row 0 draws what a single prompt with the same seed draws.
    """

    def __init__(
        self,
        config: GenerationConfig,
        rows: Sequence[GrowingRow],
        eos: Sequence[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.rows, self.eos = config, rows, list(eos)
        self.step = 0
        self._seen: Tensor | None = None
        if not config.is_greedy:
            self._draws = uniforms(config.seed, len(rows), rows[0].limit).to(device, _wide(torch.device(device)))

    def __call__(self, logits: Tensor) -> Tensor:
        """Tokens [B] chosen from raw logits [B, V]."""
        scores = warp(self.process(logits.float()), self.config)
        tokens = scores.argmax(-1) if self.config.is_greedy else draw(scores, self._draws[:, self.step])
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        self.step += 1
        return tokens

    def process(self, scores: Tensor) -> Tensor:
        """Scores [B, V] with what the rows already hold taken into account."""
        config = self.config
        if config.repetition_penalty != 1:
            scores = penalise_repeats(scores, self._seen_in(scores), config.repetition_penalty)
        if config.no_repeat_ngram_size or config.min_new_tokens:
            banned = [banned_next(row.prompt + row.tokens, len(row.tokens), config, self.eos) for row in self.rows]
            scores = ban(scores, banned)
            self._check_choice(scores)
        return scores

    def _seen_in(self, scores: Tensor) -> Tensor:
        if self._seen is None:
            self._seen = torch.zeros_like(scores, dtype=torch.bool)
            for i, row in enumerate(self.rows):
                self._seen[i, [t for t in row.prompt if t < scores.shape[1]]] = True
        return self._seen

    def _check_choice(self, scores: Tensor) -> None:
        for row, best in zip(self.rows, scores.amax(-1).tolist(), strict=True):
            if best == -torch.inf and not row.finish_reason:
                raise nothing_left(self.step)


def nothing_left(step: int) -> ZooError:
    """The error of a row in which every token is banned."""
    hint = "no_repeat_ngram_size or min_new_tokens bans all of them"
    return ZooError(f"no token is left to choose from at step {step}", hint=hint)


def warp(scores: Tensor, config: GenerationConfig) -> Tensor:
    """Scores [B, V] heated, and cut off where the tail begins; greedy scores stay as they are."""
    if config.is_greedy:
        return scores
    if config.temperature != 1:
        scores = scores / config.temperature
    if config.top_k is not None:
        scores = keep_top_k(scores, config.top_k)
    if config.top_p is not None and config.top_p < 1:
        scores = keep_top_p(scores, config.top_p)
    if config.min_p is not None:
        scores = keep_min_p(scores, config.min_p)
    return scores


def penalise_repeats(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Positive scores of `seen` [B, V] tokens divided by the penalty, negative ones multiplied (arXiv:1909.05858)."""
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def banned_next(tokens: list[int], num_new: int, config: GenerationConfig, eos: Sequence[int]) -> list[int]:
    """Tokens that may not follow `tokens`, of which the last `num_new` were generated."""
    banned = list(eos) if num_new < config.min_new_tokens else []
    if config.no_repeat_ngram_size:
        banned += ngram_ends(tokens, config.no_repeat_ngram_size)
    return banned


def ngram_ends(tokens: list[int], size: int) -> list[int]:
    """Tokens that would complete a run of `size` tokens which `tokens` already holds."""
    starts = range(len(tokens) - size + 1)
    prefix = tokens[len(tokens) - size + 1 :]
    return [tokens[i + size - 1] for i in starts if tokens[i : i + size - 1] == prefix]


def ban(scores: Tensor, banned: Sequence[Sequence[int]]) -> Tensor:
    """Scores [B, V] with those of the `banned` tokens of each row at minus infinity."""
    scores = scores.clone()
    for i, tokens in enumerate(banned):
        scores[i, [t for t in tokens if t < scores.shape[1]]] = -torch.inf
    return scores


def keep_top_k(scores: Tensor, k: int) -> Tensor:
    """Only the k best scores, and those that tie with the last of them."""
    last = scores.topk(min(k, scores.shape[-1])).values[..., -1, None]
    return scores.masked_fill(scores < last, -torch.inf)


def keep_top_p(scores: Tensor, p: float) -> Tensor:
    """Only the fewest best scores whose probabilities add up to p (arXiv:1904.09751)."""
    ordered, index = scores.sort()
    tail = ordered.softmax(-1).cumsum(-1) <= 1 - p  # from the unlikeliest up, as transformers sums
    tail[..., -1] = False
    return scores.masked_fill(tail.scatter(-1, index, tail), -torch.inf)


def keep_min_p(scores: Tensor, p: float) -> Tensor:
    """Only scores whose probability is at least p times the best one's (arXiv:2407.01082)."""
    shares = scores.softmax(-1)
    return scores.masked_fill(shares < p * shares.amax(-1, keepdim=True), -torch.inf)  # the best stays: p is at most 1


def draw(scores: Tensor, uniform: Tensor) -> Tensor:
    """Tokens [B] from scores [B, V] by inverse transform of `uniform` [B] in [0, 1)."""
    sums = scores.softmax(-1).cumsum(-1, dtype=uniform.dtype)
    total = sums[:, -1:].contiguous()
    chosen = torch.searchsorted(sums, uniform[:, None] * total, right=True)
    last = torch.searchsorted(sums, total)  # the last token with a probability, should rounding reach the total
    return torch.minimum(chosen, last)[:, 0].clamp(max=scores.shape[1] - 1)


def uniforms(seed: int | None, batch_size: int, count: int) -> Tensor:
    """Uniform numbers [B, count] in [0, 1); those of row i come from (seed, i) alone."""
    if seed is None:
        seed = int(torch.randint(2**62, ()))
    rows = []
    for row in range(batch_size):
        generator = torch.Generator().manual_seed(seed if row == 0 else _mixed(seed, row))
        rows.append(torch.rand(count, generator=generator, dtype=torch.float64))
    return torch.stack(rows)


def _mixed(seed: int, row: int) -> int:
    """A seed far from those of other rows and other seeds: seed + row would repeat rows between runs (splitmix64)."""
    bits = (seed + row * 0x9E3779B97F4A7C15) % 2**64
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return (bits ^ (bits >> 31)) % 2**63


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # a sum over 200,000 tokens wants float64
