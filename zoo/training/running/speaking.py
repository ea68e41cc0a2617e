"""What a model says while it is trained: greedy continuations of the beginnings of its own rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from zoo.errors import ZooError
from zoo.generation import GenerationConfig, generate
from zoo.nn import Decoder
from zoo.text import Tokenizer
from zoo.training.corpus.order import generator
from zoo.training.objectives.batch import Objective

COUNT, READ, WRITTEN = 3, 8, 40  # samples; tokens of a prompt and of what follows it


def samples(model: nn.Module, tokenizer: Tokenizer | None, objective: Objective) -> list[tuple[str, str]]:
    """Prompts and what the model makes of them; nothing for one that does not write, or without words."""
    if tokenizer is None or not isinstance(model, Decoder) or not hasattr(objective, "corpus"):
        return []
    rows = list(range(min(COUNT, len(objective.rows))))
    batch = objective.batch(model, rows, generator(0))
    most: Any = getattr(model.config, "max_seq_len", None) or READ + WRITTEN
    prompts = [row[: min(READ, most - 1)].tolist() for row in batch.args[0]]
    config = GenerationConfig(max_new_tokens=min(WRITTEN, most - READ) if most > READ else 1)
    was_training = model.training
    try:
        with torch.random.fork_rng():  # what is drawn for training does not depend on a look at it
            found = generate(model.eval(), prompts, config=config, tokenizer=tokenizer)
    except ZooError:
        return []
    finally:
        model.train(was_training)
    texts: Sequence[str] = found.texts or []
    return [(tokenizer.decode(prompt), text) for prompt, text in zip(prompts, texts, strict=True)]
