"""The texts of an answer as they grow, and how tokens and their probabilities are spelt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.generation.batching import Growth, TokenScore

if TYPE_CHECKING:
    from zoo.text import Tokenizer

REASONS = {"eos": "stop", "stop": "stop", "length": "length"}


@dataclass
class Choice:
    """One text."""

    index: int
    text: str = ""
    scores: list[TokenScore | None] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, piece: Growth) -> None:
        """Take in what is new."""
        self.text += piece.text
        self.scores += piece.scores
        self.finish_reason = REASONS.get(piece.finish_reason or "", self.finish_reason)


class Speller:
    """Tokens by themselves as texts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, token: int) -> str:
        """What a token says alone; one that is a part of a character, as the vocabulary spells it."""
        text = self.tokenizer.decode([token], skip_special_tokens=False)
        return text if text and "\ufffd" not in text else self.tokenizer.id_to_token(token) or f"<{token}>"

    def spelt(self, token: int, log_prob: float) -> dict[str, Any]:
        """A token of a chat, with its bytes."""
        text = self(token)
        return {"token": text, "logprob": log_prob, "bytes": [*text.encode()]}

    def for_chat(self, scores: list[TokenScore | None]) -> dict[str, Any]:
        """The probabilities of a chat's tokens."""
        content = [
            {**self.spelt(s.token, s.log_prob), "top_logprobs": [self.spelt(*pair) for pair in s.top]}
            for s in scores
            if s is not None
        ]
        return {"content": content, "refusal": None}

    def for_text(self, scores: list[TokenScore | None], prompt: list[int], offset: int) -> dict[str, Any]:
        """The probabilities of a completion's tokens; `prompt` has those of which there is none for the first."""
        tokens = [score.token if score else prompt[0] for score in scores]
        texts = [self(token) for token in tokens]
        offsets = []
        for token, text in zip(tokens, texts, strict=True):
            offsets.append(offset)
            offset += len(text) if self.tokenizer.decode([token]) else 0  # special tokens are no part of the text
        return {
            "tokens": texts,
            "token_logprobs": [score.log_prob if score else None for score in scores],
            "top_logprobs": [self._table(score) if score else None for score in scores],
            "text_offset": offsets,
        }

    def _table(self, score: TokenScore) -> dict[str, float]:
        """The likeliest tokens by their texts; of several that read alike the likeliest, and the chosen one besides."""
        table: dict[str, float] = {}
        for token, log_prob in [*score.top, (score.token, score.log_prob)]:
            table.setdefault(self(token), log_prob)
        return table
