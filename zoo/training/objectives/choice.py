"""Which objective a name stands for."""

from __future__ import annotations

from collections.abc import Callable

from zoo.errors import UsageError, some
from zoo.training.objectives.answers import answers
from zoo.training.objectives.batch import Objective
from zoo.training.objectives.causal import causal
from zoo.training.objectives.ground import Ground
from zoo.training.objectives.groups import groups
from zoo.training.objectives.masked import hidden_spans, masked_tokens
from zoo.training.objectives.pairs import preferences, rewards
from zoo.training.objectives.teaching import lessons
from zoo.training.objectives.towers import pictures_and_texts
from zoo.training.settings import one_of

OBJECTIVES: dict[str, Callable[[Ground], Objective]] = {
    "causal": causal, "sft": answers, "mlm": masked_tokens, "span": hidden_spans, "clip": pictures_and_texts,
    "dpo": preferences, "reward": rewards, "grpo": groups, "distill": lessons,
}  # fmt: skip


def make_objective(ground: Ground) -> Objective:
    """The objective that `ground.settings` name, over its data. Raises UsageError for data that it cannot read."""
    name = ground.setting("name", str)
    one_of("objective", name, tuple(OBJECTIVES))
    found = OBJECTIVES[name](ground)
    if not len(found.rows):
        raise UsageError(f"{some(ground.files)}: no row to learn from", hint="is there a text of more than one token?")
    return found
