"""What models say after the same words, token by token, and where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.generation import GenerationConfig, generate
from zoo.text import Tokenizer

PROMPT_CHARACTERS = 120
NUM_PROMPTS = 2  # one from the start of the text, one from its middle
NUM_NEW = 32  # tokens
SEED = 0
WAYS = {  # name -> settings; neither ends a text early, so that all are of one length
    "greedy": GenerationConfig(max_new_tokens=NUM_NEW, eos_token_id=[]),
    "seeded": GenerationConfig(max_new_tokens=NUM_NEW, eos_token_id=[], temperature=1.0, seed=SEED),
}


@dataclass(frozen=True)
class Continuation:
    """What one model says after one prompt."""

    way: str  # greedy | seeded
    prompt: str
    text: str
    tokens: list[int]
    parts_at: int | None = None  # the first token that is not the first model's; None: all are, or they have no number

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "way": self.way, "prompt": self.prompt, "text": self.text, "tokens": self.tokens, "parts_at": self.parts_at
        }  # fmt: skip


def prompts_of(text: str, most: int = NUM_PROMPTS) -> list[str]:
    """The beginnings of evenly spaced paragraphs of a text, cut between words; the same for every model."""
    paragraphs = [line.strip() for line in text.splitlines() if len(line.split()) > 1] or [text.strip() or text]
    step = max(1, len(paragraphs) // most)
    return list(dict.fromkeys(_cut(line) for line in paragraphs[::step][:most]))


def continuations(model: Any, tokenizer: Tokenizer, prompts: Sequence[str]) -> list[Continuation]:
    """Every prompt continued in every way, each by itself: what a row says must not hang on its neighbours."""
    found = []
    for way, settings in WAYS.items():
        for prompt in prompts:
            out = generate(model, prompt, tokenizer=tokenizer, config=settings)
            found.append(Continuation(way, prompt, out.text, out.new_tokens[0]))
    return found


def parted(first: Sequence[Continuation], other: Sequence[Continuation]) -> list[Continuation]:
    """`other` with where each leaves the first model's, for models of one vocabulary."""
    return [
        Continuation(o.way, o.prompt, o.text, o.tokens, first_difference(f.tokens, o.tokens))
        for f, o in zip(first, other, strict=True)
    ]


def first_difference(a: Sequence[int], b: Sequence[int]) -> int | None:
    """The first place where two sequences differ; None if they are equal."""
    if (place := next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)) is not None:
        return place
    return None if len(a) == len(b) else min(len(a), len(b))


def _cut(line: str) -> str:
    """The first PROMPT_CHARACTERS of a line, less the word that they cut, and at least one word less than the line."""
    start = line[:PROMPT_CHARACTERS]
    return start.rpartition(" ")[0].rstrip() or start
