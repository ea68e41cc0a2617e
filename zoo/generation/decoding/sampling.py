"""From logits to the next token: what the config asks for is done to the scores, then one is taken or drawn.

Shapes: R rows, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.generation.config import PLAIN, GenerationConfig
from zoo.generation.decoding.stopping import GrowingRow
from zoo.generation.history import History
from zoo.generation.processors import Processor, applied, processors_of, warpers_of

BANNING = (  # settings that take tokens away
    "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "min_new_tokens", "min_length", "bad_words_ids",
    "sequence_bias", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "regex",
    "json_schema",
)  # fmt: skip
SCALING = (  # settings that make scores larger
    "guidance_scale", "sequence_bias", "diversity_penalty", "encoder_repetition_penalty", "repetition_penalty",
    "frequency_penalty", "presence_penalty",
)  # fmt: skip


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
        *,
        sources: Sequence[Sequence[int]] = (),
        first: Sequence[Processor] = (),
        form: Processor | None = None,
        number: int = 0,
    ) -> None:
        """`sources` are what an encoder-decoder read (else the prompts), `first` what comes before all processors.

        Where the rows are some of a call's, `number` is that of the first of them.
        """
        self.config, self.rows = config, rows
        prompts = [row.prompt for row in rows]
        self.processors = [*first, *processors_of(config, eos=eos, sources=sources or prompts, form=form)]
        self.warpers = warpers_of(config)
        self.is_plain = config.is_greedy and not self.processors and not self.warpers  # takes what the model says
        self.history = History(prompts, [row.limit for row in rows], device)
        if not config.is_greedy:
            count = max(row.limit for row in rows)
            self._draws = uniforms(config.seed, len(rows), count, number).to(device, _wide(torch.device(device)))

    def __call__(self, logits: Tensor) -> Tensor:
        """Tokens [R] chosen from raw logits [R, V]."""
        if self.is_plain:
            return logits.argmax(-1)
        tokens = self.chosen(self.process(logits.float()))
        self.history.append(tokens)
        return tokens

    def chosen(self, scores: Tensor) -> Tensor:
        """Tokens [R] from what `process` gave, which are not yet part of the text; of more scores than rows, more."""
        scores = applied(self.warpers, self.history, scores)
        if self.config.is_greedy:
            return scores.argmax(-1)
        return draw(scores, self._draws[:, self.history.num_new].expand(len(scores)))

    def process(self, scores: Tensor) -> Tensor:
        """Scores [R, V] before anything is drawn. Raises ZooError for an open row without a finite best."""
        if not self.processors:
            return scores
        scores = applied(self.processors, self.history, scores)
        for row, best in zip(self.rows, scores.amax(-1).tolist(), strict=True):
            if not math.isfinite(best) and not row.finish_reason:
                raise no_choice(best, self.history.num_new, self.config)
        return scores


def no_choice(best: float, step: int, config: GenerationConfig) -> ZooError:
    """The error of a row whose best score is minus infinity, since every token is banned, or no finite number."""
    if best == -torch.inf:
        asked = _asked(config, BANNING)
        hint = f"{' and '.join(asked)} ban{'s' if len(asked) == 1 else ''} all of them" if asked else ""
        return ZooError(f"no token is left to choose from at step {step}", hint=hint)
    told = [f"{name}={getattr(config, name)}" for name in _asked(config, SCALING)]
    return ZooError(
        f"the scores at step {step} are too large for float32", hint=f"give smaller numbers: {', '.join(told)}"[:300]
    )


def _asked(config: GenerationConfig, names: Sequence[str]) -> list[str]:
    """Those of the settings that are not as they are by default."""
    return [name for name in names if getattr(config, name) != getattr(PLAIN, name)]


def draw(scores: Tensor, uniform: Tensor) -> Tensor:
    """Tokens [R] from scores [R, V] by inverse transform of `uniform` [R] in [0, 1)."""
    sums = shares(scores).cumsum(-1, dtype=uniform.dtype)
    total = sums[:, -1:].contiguous()
    chosen = torch.searchsorted(sums, uniform[:, None] * total, right=True)
    last = torch.searchsorted(sums, total)  # the last token with a probability, should rounding reach the total
    return torch.minimum(chosen, last)[:, 0].clamp(max=scores.shape[1] - 1)


def shares(scores: Tensor) -> Tensor:
    """Probabilities [R, V] of scores [R, V], of which infinite ones are equally likely and all others are not."""
    return scores.clamp(max=torch.finfo(scores.dtype).max).softmax(-1)


def uniforms(seed: int | None, batch_size: int, count: int, number: int = 0) -> Tensor:
    """Uniform numbers [R, count] in [0, 1); those of row i come from (seed, i) alone; `number` is the first i."""
    found = generators(seed, number + batch_size)[number:]
    rows = [torch.rand(count, generator=generator, dtype=torch.float64) for generator in found]
    return torch.stack(rows)


def generators(seed: int | None, batch_size: int) -> list[torch.Generator]:
    """A generator for each row, that of row i from (seed, i) alone; without a seed, from torch's global one."""
    if seed is None:
        seed = int(torch.randint(2**62, ()))
    return [torch.Generator().manual_seed(seed if row == 0 else _mixed(seed, row)) for row in range(batch_size)]


def _mixed(seed: int, row: int) -> int:
    """A seed far from those of other rows and other seeds: seed + row would repeat rows between runs (splitmix64)."""
    bits = (seed + row * 0x9E3779B97F4A7C15) % 2**64
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return (bits ^ (bits >> 31)) % 2**63


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # a sum over 200,000 tokens wants float64
