"""Two answers to a prompt, of which one is preferred: direct preference optimisation, and models of reward.

Shapes: N pairs, 2N rows of which the first N are the preferred answers, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from zoo.adapters.peft_library import without_adapter
from zoo.errors import UsageError
from zoo.nn import Decoder
from zoo.training.corpus import Record, standing_at, text_corpus
from zoo.training.losses import IGNORED, dpo_loss, ipo_loss, log_probabilities, reward_loss
from zoo.training.objectives.batch import Facts, Microbatch, token_batch
from zoo.training.objectives.ground import Ground
from zoo.training.settings import one_of

PAIRS = '{"prompt": "…", "chosen": "…", "rejected": "…"}'
Answer = tuple[list[int], int]  # prompt and answer in one, and how many of them are the prompt's


@dataclass(frozen=True)
class Preferences:
    """Pairs, and the model as it was: it learns to prefer what was preferred, more than that one does."""

    rows: Sequence[tuple[Answer, Answer]]
    reference: nn.Module | None  # None: the model without its adapter
    kind: str
    beta: float
    smoothing: float

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self.rows)

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        return pair_batch([self.rows[i] for i in rows])

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        chosen, rejected = scores(model, batch).chunk(2)
        with before_training(model, self.reference) as reference:
            before = scores(reference, batch).chunk(2)
        if self.kind == "ipo":
            loss = ipo_loss(chosen, rejected, *before, beta=self.beta)
        else:
            loss = dpo_loss(chosen, rejected, *before, beta=self.beta, smoothing=self.smoothing)
        margin = self.beta * ((chosen - before[0]) - (rejected - before[1])).detach()
        return loss * (batch.weight / total), {"margin": margin.sum(), "accuracy": (margin > 0).sum()}


@dataclass(frozen=True)
class Rewards:
    """Pairs, and a head that makes a number of the last state of an answer."""

    rows: Sequence[tuple[Answer, Answer]]
    extra: nn.Module  # D to 1

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self.rows)

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        return pair_batch([self.rows[i] for i in rows])

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        states = model.states(*batch.args, **batch.kwargs)
        last = batch.extra["last"]
        rewards = self.extra(states[torch.arange(len(last), device=last.device), last])[:, 0]
        chosen, rejected = rewards.chunk(2)
        margin = (chosen - rejected).detach()
        loss = reward_loss(chosen, rejected)
        return loss * (batch.weight / total), {"margin": margin.sum(), "accuracy": (margin > 0).sum()}


def preferences(ground: Ground) -> Preferences:
    """Raises UsageError for rows without prompt, chosen and rejected."""
    ground.check("kind", "beta", "smoothing")
    one_of("objective.kind", kind := ground.setting("kind", str), ("dpo", "ipo"))
    numbers = ground.number("beta", above=0), ground.number("smoothing", least=0, below=0.5)
    if kind == "ipo" and numbers[1]:
        raise UsageError("objective.smoothing is of kind=dpo, and ipo has none", hint="leave it out")
    return Preferences(_pairs(ground), reference_of(ground), kind, *numbers)


def rewards(ground: Ground) -> Rewards:
    """Raises UsageError for rows without prompt, chosen and rejected."""
    ground.check()
    like = next(ground.model.parameters())
    size: Any = getattr(ground.config, "hidden_size", 0)
    head = nn.Linear(size, 1, bias=False, device=like.device, dtype=like.dtype)
    nn.init.zeros_(head.weight)  # no answer is better before anything is learnt
    return Rewards(_pairs(ground), head)


def scores(model: Any, batch: Microbatch) -> Tensor:
    """The log-probability of each row's answer, [2N]."""
    return log_probabilities(model(*batch.args, **batch.kwargs), batch.labels).sum(-1)


def pair_batch(pairs: Sequence[tuple[Answer, Answer]]) -> Microbatch:
    """Preferred answers first, then the others; labels are the answers' tokens."""
    answers = [pair[side] for side in (0, 1) for pair in pairs]
    batch = answer_batch(answers)
    last = torch.tensor([len(ids) - 1 for ids, _ in answers])
    return replace(batch, weight=len(pairs), extra={"last": last}, blocks=2)


def answer_batch(answers: Sequence[Answer]) -> Microbatch:
    """Prompts with answers, whole; labels are the answers' tokens, at the places that predict them."""
    tokens, labels = [], []
    for ids, prompt in answers:
        row = torch.tensor(ids)
        wanted = torch.cat((row[1:], row.new_tensor([IGNORED])))
        wanted[: max(prompt - 1, 0)] = IGNORED  # behind no prompt, the first token is predicted by nothing
        tokens.append(row)
        labels.append(wanted)
    return token_batch(tokens, labels)


def frozen(model: nn.Module) -> nn.Module:
    """A model that learns nothing."""
    return model.eval().requires_grad_(False)


def reference_of(ground: Ground) -> nn.Module | None:
    """The model as it was before training; None where it is that one without its adapter."""
    return None if ground.initial is None else frozen(ground.initial())


@contextmanager
def before_training(model: nn.Module, reference: nn.Module | None) -> Iterator[nn.Module]:
    """What is compared with, for as long as this lasts; no gradients are kept."""
    with torch.no_grad(), without_adapter(model) if reference is None else nullcontext(reference) as found:
        yield found


def prompt_ids(record: Record, ground: Ground, row: str = '{"prompt": "…"}') -> list[int]:
    """The prompt of a row, such as `row`: a text, or messages for the chat template."""
    prompt = record.values.get("prompt")
    if isinstance(prompt, list):
        if not all(isinstance(message, dict) and "role" in message for message in prompt):
            raise UsageError(f"{record.place}: prompt is a list, and not of objects with a role")
        with standing_at(record.place):
            return ground.words.encode_chat(prompt, tools=record.tools())
    with standing_at(record.place):
        found = ground.words.encode(record.text("prompt", row=row))
    return found[:-1] if ground.end is not None and found[-1:] == [ground.end] else found


def _pairs(ground: Ground) -> list[tuple[Answer, Answer]]:
    if not isinstance(ground.model, Decoder):
        raise UsageError(
            f"objective={ground.settings['name']} trains decoders, and {ground.config.family_in_words} is none"
        )
    found = []
    for record in ground.records():
        prompt = prompt_ids(record, ground, PAIRS)
        pair = []
        for name in ("chosen", "rejected"):
            with standing_at(record.place):
                ids = [*prompt, *ground.words.encode(record.text(name, row=PAIRS), add_special_tokens=False)]
            ids += [] if ground.end is None else [ground.end]
            if len(ids) > ground.length:
                what = (
                    f"{record.place}: prompt and {name} have {len(ids)} tokens, more than data.length={ground.length}"
                )
                raise UsageError(what, hint="make data.length larger, or leave the row out")
            if len(ids) <= max(len(prompt), 1):
                raise UsageError(f"{record.place}: {name} has no token that could be predicted")
            pair.append((ids, len(prompt)))
        found.append((pair[0], pair[1]))
    return found


def _fingerprint(pairs: Sequence[tuple[Answer, Answer]]) -> str:
    return text_corpus(ids for pair in pairs for ids, _ in pair).fingerprint
