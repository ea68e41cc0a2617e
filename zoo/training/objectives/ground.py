"""What an objective is made of: the settings, the model's config, a tokenizer, and the data's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from zoo.anatomy.config import ModelConfig, typed
from zoo.errors import UsageError, did_you_mean
from zoo.text import Tokenizer
from zoo.training.corpus.reading import Record, read_records
from zoo.training.limits import within
from zoo.training.settings import DataSettings

LONGEST = 512  # tokens of a row, unless data.length says more


@dataclass(frozen=True)
class Ground:
    """The same for training and for held-out data, but for the files."""

    settings: Mapping[str, Any]  # conf/objective/NAME.yaml with what was typed
    data: DataSettings
    files: list[str]
    config: ModelConfig
    model: nn.Module
    tokenizer: Tokenizer | None
    initial: Callable[[], nn.Module] | None  # the model as it was before training, once more; None: without its adapter
    seed: int = 0

    @cached_property
    def length(self) -> int:
        """Tokens of a row. Raises UsageError for more than the model reads."""
        text: Any = getattr(self.config, "text", None) or self.config
        most = getattr(text, "max_seq_len", None)
        if self.data.length is None:
            return min(most or LONGEST, LONGEST)
        if most is not None and self.data.length > most:
            raise UsageError(f"data.length={self.data.length} is more than model.max_seq_len={most}")
        return self.data.length

    def of_words(self, hint: str) -> str:
        """What to type for other words, which weights that were loaded cannot have."""
        is_loaded = getattr(self.model, "ledger", None) is not None
        return "put the tokenizer that the weights were trained with beside them" if is_loaded else hint

    @property
    def words(self) -> Tokenizer:
        """The tokenizer. Raises UsageError where there is none."""
        if self.tokenizer is None:
            hint = self.of_words("type tokenizer=SOURCE, or tokenizer.train=bpe to learn one from the data")
            raise UsageError("texts need a tokenizer, and the model brings none", hint=hint)
        return self.tokenizer

    @property
    def end(self) -> int | None:
        """The token that ends a document."""
        own = None if self.tokenizer is None else self.tokenizer.eos_token_id
        return own if own is not None else next(iter(self.config.eos_token_id), None)

    @property
    def pad(self) -> int:
        """The token that fills rows up; it is never read."""
        found = None if self.tokenizer is None else self.tokenizer.token_to_id(self.token("pad_token") or "")
        return found if found is not None else self.config.pad_token_id or 0

    def token(self, name: str) -> str | None:
        """How a special token is spelt: pad_token, mask_token, ..."""
        return None if self.tokenizer is None else self.tokenizer.special_tokens.get(name)

    def around(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and behind every text."""
        found = self.words.encode_with_offsets("a")
        inner = [i for i, is_added in enumerate(found.special_tokens_mask) if not is_added]
        return found.ids[: inner[0]], found.ids[inner[-1] + 1 :]

    def records(self) -> Iterator[Record]:
        """The records of the files."""
        return read_records(self.files, self.data)

    def setting(self, name: str, kind: Any) -> Any:
        """A setting of the objective, of the right type."""
        return typed(kind, self.settings.get(name), f"objective.{name}")

    def number(self, name: str, kind: Any = float, **limits: float) -> Any:
        """A setting that is a number within limits: see `within`."""
        within(f"objective.{name}", value := self.setting(name, kind), **limits)
        return value

    def check(self, *names: str) -> None:
        """Raise UsageError for a setting that the objective does not have."""
        for name in self.settings:
            if name not in ("name", *names):
                raise UsageError(f"no key 'objective.{name}'", why=did_you_mean(name, names))
