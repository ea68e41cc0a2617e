"""Texts for who waits for them: of many prompts, as many at a time as there are rows, or of one, piece by piece."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from zoo.errors import UsageError
from zoo.generation.batching.beginnings import Beginnings
from zoo.generation.batching.engine import Engine
from zoo.generation.batching.request import Growth, Request
from zoo.generation.config import GenerationConfig
from zoo.generation.prompts import Prompts, batch_of
from zoo.generation.protocols import LanguageModel, TokenizerLike, device_of
from zoo.generation.result import Generation

ROWS = 32  # texts that are made at once, where nobody says how many


def generate_all(
    model: LanguageModel,
    prompts: Prompts,
    config: GenerationConfig,
    *,
    tokenizer: TokenizerLike | None = None,
    inputs: Mapping[str, Any] | None = None,
    max_rows: int = ROWS,
) -> Generation:
    """What `zoo.generate` gives for prompts and config, so many texts at a time, each read by itself.

    `inputs` go with every prompt. Raises the error of the first request that has one.
    """
    device, vocab_size = device_of(model), getattr(model.config, "vocab_size", None)
    rows = batch_of(prompts, tokenizer=tokenizer, vocab_size=vocab_size, device=device).rows
    config, count = seeded(config), config.num_return_sequences
    engine = Engine(model, tokenizer, max_rows=max(max_rows, count), max_waiting=len(rows))
    requests = [Request(row, config, inputs or {}, number=number * count) for number, row in enumerate(rows)]
    found = _grown(engine, requests)
    texts = [found[request, number] for request in requests for number in range(count)]
    return Generation(
        prompts=[row for row in rows for _ in range(count)],
        new_tokens=[[token for piece in text for token in piece.tokens] for text in texts],
        finish_reasons=[text[-1].finish_reason or "length" for text in texts],
        texts=["".join(piece.text for piece in text) for text in texts] if tokenizer else None,
    )


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
    found = _grown(engine, requests)
    return ["".join(piece.text for piece in found[request, 0]) for request in requests]


def _grown(engine: Engine, requests: Sequence[Request]) -> Mapping[tuple[Request, int], list[Growth]]:
    """All pieces of each text of these requests. Raises the error of the first that has one."""
    for request in requests:
        engine.submit(request)
    found: defaultdict[tuple[Request, int], list[Growth]] = defaultdict(list)
    while not engine.is_idle:
        for piece in engine.step():
            if piece.error is not None:
                raise piece.error
            found[piece.request, piece.number].append(piece)
    return found


class Utterance(Iterator[str]):
    """Pieces of one text from an engine that nobody else asks meanwhile."""

    def __init__(
        self,
        engine: Engine,
        prompt: Sequence[int],
        config: GenerationConfig,
        *,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        self._engine, self._request = engine, Request([*prompt], seeded(config), inputs or {})
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
