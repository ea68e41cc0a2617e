"""All texts of many prompts, each with settings of its own, as many at a time as there are rows."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.errors import UsageError
from zoo.generation.batching.beginnings import Beginnings
from zoo.generation.batching.engine import Engine
from zoo.generation.batching.request import Request
from zoo.generation.config import GenerationConfig
from zoo.generation.protocols import LanguageModel, TokenizerLike


def generate_each(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    configs: Sequence[GenerationConfig],
    *,
    tokenizer: TokenizerLike | None = None,
    max_rows: int = 8,
    beginnings: Beginnings | None = None,
) -> list[str]:
    """The text that each prompt is continued by, as `zoo.generate` gives it for that prompt and config alone.

    Raises the error of the first request that has one.
    """
    if any(config.num_return_sequences > 1 for config in configs):
        raise UsageError("num_return_sequences: each prompt has one text here", hint="use zoo.generate")
    engine = Engine(model, tokenizer, max_rows=max_rows, max_waiting=len(prompts), beginnings=beginnings)
    requests = [Request([*prompt], config) for prompt, config in zip(prompts, configs, strict=True)]
    for request in requests:
        engine.submit(request)
    texts = {id(request): "" for request in requests}
    while not engine.is_idle:
        for piece in engine.step():
            if piece.error is not None:
                raise piece.error
            texts[id(piece.request)] += piece.text
    return [texts[id(request)] for request in requests]
