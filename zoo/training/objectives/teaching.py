"""Distillation: the next token as another model would have it, and as the text does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from zoo.checkpoint.loading import load
from zoo.errors import UsageError
from zoo.training.losses import IGNORED, distillation_loss, token_loss
from zoo.training.objectives.batch import Facts, Microbatch
from zoo.training.objectives.causal import NextToken, causal
from zoo.training.objectives.ground import Ground
from zoo.training.objectives.pairs import frozen


@dataclass(frozen=True)
class Lessons:
    """The next token over a corpus, with a teacher of the same vocabulary."""

    text: NextToken
    teacher: nn.Module
    temperature: float
    alpha: float  # weight of the teacher's distribution; the text has the rest
    is_reverse: bool

    @property
    def rows(self) -> Any:
        return self.text.rows

    @property
    def fingerprint(self) -> str:
        return self.text.fingerprint

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        return self.text.batch(model, rows, generator)

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        logits = model(*batch.args, **batch.kwargs)
        with torch.no_grad():
            theirs = self.teacher(*batch.args, **batch.kwargs)
        if not bool((batch.labels != IGNORED).any()):
            return logits.sum() * 0.0, {"divergence": logits.new_zeros(())}
        options: dict[str, Any] = {"temperature": self.temperature, "is_reverse": self.is_reverse}
        share = batch.weight / total
        lesson = distillation_loss(logits, theirs, batch.labels, **options) * share
        own = token_loss(logits, batch.labels, total=total)
        return self.alpha * lesson + (1 - self.alpha) * own, {"divergence": lesson.detach() * total}


def lessons(ground: Ground) -> Lessons:
    """Raises UsageError where there is no teacher, or one of another vocabulary."""
    names = ("teacher", "temperature", "alpha", "reverse")
    ground.check(*names)
    temperature, alpha = ground.number("temperature", above=0), ground.number("alpha", least=0, most=1)
    source = ground.setting("teacher", str | None)
    if source is None:
        raise UsageError("objective=distill needs objective.teacher", hint="a folder or a name, for example tiny")
    like = next(ground.model.parameters())
    teacher: Any = frozen(load(source, device=like.device, dtype=like.dtype))
    ours, theirs = getattr(ground.config, "vocab_size", None), getattr(teacher.config, "vocab_size", None)
    if ours != theirs:
        raise UsageError(f"the teacher {source} has {theirs} tokens, the model {ours}", hint=f"tokenizer={source}")
    plain = replace(ground, settings={"name": "distill", "smoothing": 0.0, "z": 0.0, "chunk": None})
    return Lessons(causal(plain), teacher, temperature, alpha, ground.setting("reverse", bool))
