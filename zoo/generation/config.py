"""How a text is continued."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from zoo.errors import UnknownName, UsageError
from zoo.generation import ranges

DEFAULT_NEW = 128  # tokens to add at most where nothing says how many


class GenerationSettings(TypedDict, total=False):
    """The fields of GenerationConfig as keyword arguments; None leaves what is set otherwise."""

    max_new_tokens: int | None
    max_length: int | None
    min_new_tokens: int | None
    min_length: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    top_h: float | None
    top_n_sigma: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    repetition_penalty: float | None
    encoder_repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    no_repeat_ngram_size: int | None
    encoder_no_repeat_ngram_size: int | None
    bad_words_ids: Sequence[Sequence[int]] | None
    sequence_bias: Sequence[Sequence[Any]] | None
    suppress_tokens: Sequence[int] | None
    begin_suppress_tokens: Sequence[int] | None
    forced_bos_token_id: int | None
    forced_eos_token_id: int | Sequence[int] | None
    exponential_decay_length_penalty: Sequence[float] | None
    guidance_scale: float | None
    remove_invalid_values: bool | None
    renormalize_logits: bool | None
    seed: int | None
    stop: str | Sequence[str] | None
    eos_token_id: int | Sequence[int] | None
    decoder_start_token_id: int | None
    num_return_sequences: int | None
    cache: str | None
    prefill_chunk: int | None
    num_draft_tokens: int | None
    draft_ngram_size: int | None
    num_beams: int | None
    num_beam_groups: int | None
    diversity_penalty: float | None
    length_penalty: float | None
    early_stopping: bool | str | None
    regex: str | None
    json_schema: dict[str, Any] | str | None


ELSEWHERE = {  # words of other libraries, and what says the same here
    "do_sample": "temperature=0 takes the likeliest token; above 0 tokens are drawn",
    "streamer": "zoo.stream(model, prompt) gives the text in pieces",
    "stream": "zoo.stream(model, prompt) gives the text in pieces",
    "max_tokens": "max_new_tokens counts the tokens that are added",
}


@dataclass(frozen=True)
class GenerationConfig:
    """Settings of one generation; as it stands it is greedy. `None` means absent."""

    max_new_tokens: int | None = None  # tokens to add at most
    max_length: int | None = None  # tokens in all, prompt included; max_new_tokens goes before
    min_new_tokens: int = 0  # tokens to add before an end token may come
    min_length: int = 0  # tokens in all, prompt included, before one may come; min_new_tokens goes before
    temperature: float = 0.0  # 0: always the likeliest token; 1: as the model says; above: flatter
    top_k: int | None = None  # draw among the k likeliest tokens
    top_p: float | None = None  # draw among the fewest tokens that hold this share of the probability
    min_p: float | None = None  # draw among tokens at least this share as likely as the likeliest
    top_h: float | None = None  # draw among the likeliest tokens that hold this share of the entropy
    top_n_sigma: float | None = None  # draw among logits this many standard deviations below the best at most
    typical_p: float | None = None  # draw among the tokens of most expected surprise that hold this share
    epsilon_cutoff: float = 0.0  # draw among tokens of this probability at least
    eta_cutoff: float = 0.0  # the same, with less asked where the distribution is flat
    repetition_penalty: float = 1.0  # above 1: tokens already in prompt or text become less likely (arXiv:1909.05858)
    encoder_repetition_penalty: float = 1.0  # above 1: tokens of the source, or the prompt, become likelier
    presence_penalty: float = 0.0  # taken from the logit of each token that was generated already
    frequency_penalty: float = 0.0  # the same, once for each time it was generated
    no_repeat_ngram_size: int | None = None  # no run of this many tokens comes twice
    encoder_no_repeat_ngram_size: int | None = None  # no run of this many tokens of the source, or the prompt, comes
    bad_words_ids: list[list[int]] = field(default_factory=list)  # runs of tokens that never come
    sequence_bias: list[Any] = field(default_factory=list)  # [[tokens], bias]: added where a run would be completed
    suppress_tokens: list[int] = field(default_factory=list)  # tokens that never come
    begin_suppress_tokens: list[int] = field(default_factory=list)  # tokens that do not come first
    forced_bos_token_id: int | None = None  # the token after a first one that stands alone: a language, for example
    forced_eos_token_id: list[int] | None = None  # the tokens of which one comes last where the length ends a text
    exponential_decay_length_penalty: list[float] | None = None  # [start, factor]: the end grows likelier from there
    guidance_scale: float | None = None  # above 1: away from what would be said without the prompt (arXiv:2306.17806)
    remove_invalid_values: bool = False  # NaN and infinite logits become finite instead of an error
    renormalize_logits: bool = False  # log probabilities again after all else
    seed: int | None = None  # None: drawn from torch's global generator
    stop: list[str] = field(default_factory=list)  # texts that end the generation and are not part of it
    eos_token_id: list[int] | None = None  # tokens that end a text; None: the model config's
    decoder_start_token_id: int | None = None  # where an encoder-decoder's texts begin; None: the model config's
    num_return_sequences: int = 1  # continuations of each prompt
    cache: str | None = None  # int8: keys and values in 8 bits, a scale for each token and head; None: as computed
    prefill_chunk: int | None = None  # tokens of the prompts that are read at a time; None: all in one pass
    num_draft_tokens: int | None = None  # tokens that a draft guesses at a time; None: as many as were right lately
    draft_ngram_size: int = 3  # tokens at the end of the text that draft="ngram" looks for before it, at most
    num_beams: int = 1  # sequences that a beam search keeps; 1: no beam search
    num_beam_groups: int = 1  # beams in groups that avoid each other's tokens (arXiv:1610.02424)
    diversity_penalty: float = 0.0  # taken from a logit for each beam of the groups before that chose the token
    length_penalty: float = 1.0  # beam search: power of the length that a score is divided by; above 0 favours length
    early_stopping: bool | str = False  # beam search: True, False or "never", as in transformers
    regex: str | None = None  # the text matches this regular expression as a whole
    json_schema: Any = None  # the text is JSON of this schema, a dict or its JSON

    def __post_init__(self) -> None:
        ranges.check(self)

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken instead of drawn."""
        return self.temperature == 0

    @property
    def is_constrained(self) -> bool:
        """Whether the text must be of a form."""
        return self.regex is not None or self.json_schema is not None

    def updated(self, **settings: Any) -> GenerationConfig:
        """A copy with every setting that is not None. Raises UnknownName for one that there is not."""
        return self.replaced(**{name: value for name, value in settings.items() if value is not None})

    def replaced(self, **settings: Any) -> GenerationConfig:
        """A copy with these settings, None among them as the default. Raises UnknownName for one that there is not."""
        known = {f.name for f in dataclasses.fields(self)}
        if wrong := next((name for name in settings if name not in known), None):
            if wrong in ELSEWHERE:
                raise UsageError(f"there is no setting {wrong!r} of generation", hint=ELSEWHERE[wrong])
            raise UnknownName(f"there is no setting {wrong!r} of generation", wrong, known)
        changes = {name: _listed(name, value) for name, value in settings.items()}
        return dataclasses.replace(self, **changes)

    def num_new(self, prompt_len: int, most: int | None = None) -> int:
        """Tokens to add at most to a prompt of `prompt_len`, to a model made for `most` where nothing else says it.

        Raises UsageError where `max_length` leaves no room.
        """
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.max_length is None:
            return DEFAULT_NEW if most is None else max(1, min(DEFAULT_NEW, most - prompt_len))
        if self.max_length <= prompt_len:
            raise UsageError(
                f"max_length={self.max_length} leaves no room after a prompt of {prompt_len} tokens",
                hint="give max_new_tokens",
            )
        return self.max_length - prompt_len


PLAIN = GenerationConfig()


def _listed(name: str, value: Any) -> Any:
    """A setting as its field holds it: a token or text is a list of one, a tuple a list, None the default."""
    if value is None:
        return getattr(PLAIN, name)
    if name in ("eos_token_id", "forced_eos_token_id", "stop") and isinstance(value, int | str):
        return [value]
    return [*value] if isinstance(value, tuple) else value
