"""What generation needs of a model, its cache, a tokenizer and a draft: it imports none of them.

Shapes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class CacheLike(Protocol):
    """What a model remembers of the tokens it has read, in keys and values, a state or anything else.

    Drafts alone want more: `rewind(length)`, for several rows `rewind_rows(lengths)`, and, where old tokens are
    overwritten, `look_ahead(num_tokens)`. A cache that has them and cannot (a state) says `can_rewind = False`. That of
    a model whose prompts are read in one pass or not at all says `needs_whole_prompt = True`.
    """

    length: int
    max_len: int

    def reorder(self, index: Tensor) -> None:
        """Keep row index[b] as row b."""
        ...


class LanguageModel(Protocol):
    """A decoder: token ids to next-token logits.

    `markers`, where there are any, are tokens that change more than what follows them: no draft guesses one.
    """

    @property
    def config(self) -> Any:
        """The family's config."""
        ...

    def __call__(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: Any = None, last: bool = False
    ) -> Tensor:
        """Logits [B, T, V] for tokens [B, T], or [B, 1, V] with `last`."""
        ...

    def new_cache(self, batch_size: int, max_len: int) -> Any:
        """An empty cache for `batch_size` rows of at most `max_len` tokens."""
        ...


class TextStreamLike(Protocol):
    """Turns the tokens of one text into pieces that never change afterwards."""

    def push(self, token: int) -> str:
        """The text that is certain now."""
        ...

    def finish(self) -> str:
        """What was still held back."""
        ...


class TokenizerLike(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str, /) -> list[int]:
        """Ids of `text` with the model's own special tokens around it."""
        ...

    def decode_stream(self, context: Sequence[int] = ()) -> TextStreamLike:
        """A stream for the tokens that follow `context`."""
        ...


class Draft(Protocol):
    """Guesses cheaply what the model will say.

    `num_tokens`, if it has one, says how many it guesses at a time; None leaves it to the settings. A draft that draws
    its guesses has `guess_rows` besides, as DraftModel has.
    """

    def propose(self, tokens: list[int], most: int) -> list[int]:
        """At most `most` tokens that may follow `tokens`."""
        ...


def device_of(model: LanguageModel) -> torch.device:
    """Where the model's weights are; the CPU for a model without any."""
    parameters = getattr(model, "parameters", None)
    first = next(parameters(), None) if parameters else None
    return torch.device("cpu") if first is None else first.device
