"""Texts for who waits for them: of many prompts, as many at a time as there are rows, or of one, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

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
    requests = [Request([*prompt], seeded(config)) for prompt, config in zip(prompts, configs, strict=True)]
    for request in requests:
        engine.submit(request)
    texts = {id(request): "" for request in requests}
    while not engine.is_idle:
        for piece in engine.step():
            if piece.error is not None:
                raise piece.error
            texts[id(piece.request)] += piece.text
    return [texts[id(request)] for request in requests]


class Utterance(Iterator[str]):
    """Pieces of one text from an engine that nobody else asks meanwhile."""

    def __init__(self, engine: Engine, prompt: Sequence[int], config: GenerationConfig) -> None:
        self._engine, self._request = engine, Request([*prompt], seeded(config))
        self.new_tokens: list[int] = []
        self.finish_reason: str | None = None
        engine.submit(self._request)

    def __next__(self) -> str:
        while not self.finish_reason:
            try:
                pieces = self._engine.step()
            except BaseException:  # an interrupt: the engine is ready for the next one
                self._engine.reset()
                raise
            if error := next((piece.error for piece in pieces if piece.error is not None), None):
                raise error
            for piece in pieces:
                self.new_tokens += piece.tokens
                self.finish_reason = piece.finish_reason
            if text := "".join(piece.text for piece in pieces):
                return text
        raise StopIteration


def seeded(config: GenerationConfig) -> GenerationConfig:
    """The same with a seed, from torch's global generator, if it draws and has none: a text may be read again."""
    return config if config.is_greedy or config.seed is not None else config.updated(seed=int(torch.randint(2**62, ())))
