"""Group relative policy optimisation: a model answers each prompt several times, and learns which answers were better.

Shapes: N prompts, G answers to each, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from zoo.errors import UsageError, ZooError, clean
from zoo.generation import GenerationConfig, generate
from zoo.nn import Decoder
from zoo.text import Tokenizer
from zoo.training.corpus import text_corpus
from zoo.training.losses import IGNORED, group_advantages, grouped_loss, log_probabilities
from zoo.training.objectives.batch import Facts, Microbatch
from zoo.training.objectives.ground import Ground
from zoo.training.objectives.pairs import answer_batch, before_training, prompt_ids, reference_of
from zoo.training.running.calling import named_function

Reward = Callable[[str, str, Mapping[str, Any]], float]  # of a prompt, an answer and the row


@dataclass(frozen=True)
class Groups:
    """Prompts, what answers to them are worth, and the model as it was, from which it must not stray."""

    rows: Sequence[tuple[list[int], Mapping[str, Any]]]  # a prompt's tokens, and the row that it stands in
    tokenizer: Tokenizer
    reward: Reward
    reference: nn.Module | None  # None where beta is 0, or where it is the model without its adapter
    group: int  # answers to each prompt
    max_new_tokens: int
    temperature: float
    clip: float
    beta: float

    @property
    def fingerprint(self) -> str:
        return text_corpus(ids for ids, _ in self.rows).fingerprint

    @torch.no_grad()
    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        """Draw answers from the model as it is, and judge them."""
        prompts = [self.rows[i] for i in rows for _ in range(self.group)]
        seed = int(torch.randint(1 << 31, (), generator=generator))
        was_training = model.training
        model.eval()
        drawn = GenerationConfig(temperature=self.temperature, seed=seed, max_new_tokens=self.max_new_tokens)
        found = generate(model, [ids for ids, _ in prompts], config=drawn, tokenizer=self.tokenizer)
        model.train(was_training)
        worth = [
            self._judged(ids, self.tokenizer.decode(new), row)
            for (ids, row), new in zip(prompts, found.new_tokens, strict=True)
        ]
        reward = torch.tensor(worth, dtype=torch.float32).view(-1, self.group)
        batch = answer_batch([(ids, len(p)) for ids, (p, _) in zip(found.tokens, prompts, strict=True)])
        device = next(model.parameters()).device
        sampled = batch.to(device)
        old = log_probabilities(self._logits(model, sampled), sampled.labels)
        before = old
        if self.beta:
            with before_training(model, self.reference) as reference:
                before = log_probabilities(self._logits(reference, sampled), sampled.labels)
        extra = {
            "old": old,
            "reference": before,
            "reward": reward.flatten(),
            "advantage": group_advantages(reward).flatten(),
        }
        return replace(batch, weight=len(prompts), extra=extra)

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        new = log_probabilities(self._logits(model, batch), batch.labels)
        mask, e = batch.labels != IGNORED, batch.extra
        advantage = e["advantage"].to(new.dtype)
        loss = grouped_loss(new, e["old"], e["reference"], advantage, mask, clip=self.clip, beta=self.beta)
        return loss * (batch.weight / total), {"reward": e["reward"].sum(), "answer_tokens": mask.sum()}

    def _logits(self, model: Any, batch: Microbatch) -> Tensor:
        """Those of the distribution that answers are drawn from."""
        return model(*batch.args, **batch.kwargs) / self.temperature

    def _judged(self, prompt: list[int], answer: str, row: Mapping[str, Any]) -> float:
        found = self.reward(self.tokenizer.decode(prompt), answer, row)
        if isinstance(found, bool | int | float):
            return float(found)
        raise ZooError(
            f"objective.reward gave {clean(repr(found))}, which is not a number", why=f"for {clean(answer)!r}"
        )


def groups(ground: Ground) -> Groups:
    """Raises UsageError for rows without a prompt, and a reward that there is not."""
    names = "reward pattern target group max_new_tokens temperature clip beta".split()
    ground.check(*names)
    if not isinstance(ground.model, Decoder):
        raise UsageError(f"objective=grpo trains decoders, and {ground.config.family_in_words} is none")
    least = {"group": 2, "max_new_tokens": 1}
    counts: dict[str, Any] = {name: ground.number(name, int, least=count) for name, count in least.items()}
    numbers: dict[str, Any] = {name: ground.number(name, above=0) for name in ("temperature", "clip")}
    numbers["beta"] = ground.number("beta", least=0)
    rows = [(prompt_ids(record, ground), record.values) for record in ground.records()]
    reference = reference_of(ground) if numbers["beta"] else None
    return Groups(rows, ground.words, reward_of(ground), reference, **counts, **numbers)


def reward_of(ground: Ground) -> Reward:
    """regex: 1 where `pattern` is found in an answer, else 0. length: 0 at `target` tokens, less the further from it.

    Or a function of yours, as MODULE:FUNCTION or FILE.py:FUNCTION, of prompt, answer and row.
    """
    name = ground.setting("reward", str | None)
    if name == "regex":
        pattern = ground.setting("pattern", str | None)
        try:
            found = re.compile(pattern or "")
        except re.error as error:
            raise UsageError(f"objective.pattern={pattern!r} is not a regular expression: {error}") from None
        if not pattern:
            raise UsageError("objective.reward=regex needs objective.pattern")
        return lambda prompt, answer, row: float(found.search(answer) is not None)
    if name == "length":
        words, target = ground.words, ground.setting("target", int | None)
        if not target or target < 1:
            raise UsageError("objective.reward=length needs objective.target, a number of tokens")
        return lambda prompt, answer, row: -abs(len(words.encode(answer, add_special_tokens=False)) - target) / target
    if name is None:
        raise UsageError("objective=grpo needs objective.reward", hint="regex, length, or FILE.py:FUNCTION of yours")
    return named_function(name, "objective.reward")
