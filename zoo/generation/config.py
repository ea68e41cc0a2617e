"""How a text is continued."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zoo.errors import UsageError


@dataclass(frozen=True)
class GenerationConfig:
    """Settings of one generation; as it stands it is greedy. `None` means absent."""

    max_new_tokens: int | None = None  # tokens to add at most
    max_length: int | None = None  # tokens in all, prompt included; max_new_tokens goes before
    min_new_tokens: int = 0  # tokens to add before an end token may come
    temperature: float = 0.0  # 0: always the likeliest token; 1: as the model says; above: flatter
    top_k: int | None = None  # draw among the k likeliest tokens
    top_p: float | None = None  # draw among the fewest tokens that hold this share of the probability
    min_p: float | None = None  # draw among tokens at least this share as likely as the likeliest
    repetition_penalty: float = 1.0  # above 1: tokens already in prompt or text become less likely (arXiv:1909.05858)
    no_repeat_ngram_size: int | None = None  # no run of this many tokens comes twice
    seed: int | None = None  # None: drawn from torch's global generator
    stop: list[str] = field(default_factory=list)  # texts that end the generation and are not part of it
    eos_token_id: list[int] | None = None  # tokens that end a text; None: the model config's
    num_beams: int = 1  # sequences that a beam search keeps; 1: no beam search
    length_penalty: float = 1.0  # beam search: power of the length that a score is divided by; above 0 favours length
    early_stopping: bool | str = False  # beam search: True, False or "never", as in transformers

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_length", "top_k", "no_repeat_ngram_size", "num_beams"):
            _check(name, getattr(self, name), lambda v: v >= 1, "at least 1")
        for name in ("top_p", "min_p"):
            _check(name, getattr(self, name), lambda v: 0 <= v <= 1, "between 0 and 1")
        _check("min_new_tokens", self.min_new_tokens, lambda v: v >= 0, "at least 0")
        _check("temperature", self.temperature, lambda v: v >= 0, "at least 0")
        _check("seed", self.seed, lambda v: -(2**63) <= v < 2**64, "a number of 64 bits")
        _check("repetition_penalty", self.repetition_penalty, lambda v: v > 0, "above 0")
        _check("length_penalty", self.length_penalty, math.isfinite, "finite")
        if self.early_stopping not in (True, False, "never"):
            raise UsageError(f"early_stopping={self.early_stopping!r} is not true, false or 'never'")
        if "" in self.stop:
            raise UsageError("stop contains an empty text: every generation would end at once")
        if self.num_beams > 1 and self.temperature > 0:
            raise UsageError(
                f"num_beams={self.num_beams} and temperature={self.temperature} do not go together",
                hint="set temperature=0 for beam search, or num_beams=1 to sample",
            )

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken instead of drawn."""
        return self.temperature == 0

    @property
    def is_plain(self) -> bool:
        """Whether the next token is the likeliest as the model has it, nothing added or banned."""
        no_bans = self.repetition_penalty == 1 and not self.no_repeat_ngram_size and not self.min_new_tokens
        return self.is_greedy and self.num_beams == 1 and no_bans

    def updated(
        self,
        *,
        stop: Sequence[str] | None = None,
        eos_token_id: int | Sequence[int] | None = None,
        **numbers: int | float | bool | str | None,
    ) -> GenerationConfig:
        """A copy with every setting that is not None."""
        changes: dict[str, object] = {name: value for name, value in numbers.items() if value is not None}
        if stop is not None:
            changes["stop"] = [stop] if isinstance(stop, str) else list(stop)
        if eos_token_id is not None:
            changes["eos_token_id"] = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
        return dataclasses.replace(self, **changes)

    def num_new(self, prompt_len: int) -> int:
        """Tokens to add at most to a prompt of `prompt_len`. Raises UsageError where nothing says how many."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.max_length is None:
            raise UsageError("nothing says when to stop", hint="give max_new_tokens")
        if self.max_length <= prompt_len:
            raise UsageError(
                f"max_length={self.max_length} leaves no room after a prompt of {prompt_len} tokens",
                hint="give max_new_tokens",
            )
        return self.max_length - prompt_len


def _check(name: str, value: float | None, holds: Callable[[float], bool], range_: str) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or math.isnan(value) or math.isinf(value) or not holds(value):
        raise UsageError(f"{name}={value!r} is not {range_}")
