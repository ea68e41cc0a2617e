"""What a setting of generation may be, and which do not go together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.generation.config import GenerationConfig

SAMPLED = ("top_k", "top_p", "min_p", "top_h", "top_n_sigma", "typical_p", "epsilon_cutoff", "eta_cutoff")
LARGEST = 2**31  # of token ids and counts of them
COUNT = (int, lambda v: v >= 1, "at least 1")
LEAST = (int, lambda v: v >= 0, "at least 0")
TOKEN = (int, lambda v: 0 <= v < LARGEST, "a token id")
SHARE = (float, lambda v: 0 <= v <= 1, "between 0 and 1")
PART = (float, lambda v: 0 < v <= 1, "above 0 and at most 1")
CUTOFF = (float, lambda v: 0 <= v < 1, "at least 0 and below 1")
FACTOR = (float, lambda v: v > 0, "above 0")
FINITE = (float, lambda v: True, "finite")
POWER = (float, lambda v: -50 <= v <= 50, "between -50 and 50")  # a million tokens to the 50th is a float still
AMOUNT = (float, lambda v: v >= 0, "at least 0")
NUMBERS: dict[str, tuple[type, Callable[[Any], bool], str]] = {  # whole or not, what holds, and that in words
    "max_new_tokens": COUNT, "max_length": COUNT, "top_k": COUNT, "no_repeat_ngram_size": COUNT,
    "encoder_no_repeat_ngram_size": COUNT,
    "num_beams": COUNT, "num_beam_groups": COUNT, "num_return_sequences": COUNT,
    "num_draft_tokens": COUNT, "prefill_chunk": COUNT, "draft_ngram_size": COUNT,
    "min_new_tokens": LEAST, "min_length": LEAST, "forced_bos_token_id": TOKEN, "decoder_start_token_id": TOKEN,
    "top_p": SHARE, "min_p": SHARE, "top_h": PART, "typical_p": PART, "epsilon_cutoff": CUTOFF, "eta_cutoff": CUTOFF,
    "repetition_penalty": FACTOR, "encoder_repetition_penalty": FACTOR, "top_n_sigma": FACTOR, "length_penalty": POWER,
    "presence_penalty": FINITE, "frequency_penalty": FINITE, "guidance_scale": FINITE, "temperature": AMOUNT,
    "diversity_penalty": AMOUNT, "seed": (int, lambda v: -(2**63) <= v < 2**64, "a number of 64 bits"),
}  # fmt: skip


def check(config: GenerationConfig) -> None:
    """Raise UsageError for a setting out of its range, and for settings that do not go together."""
    for name, (kind, holds, words) in NUMBERS.items():
        value = getattr(config, name)
        if value is not None and not (_is_number(value, kind) and holds(value)):
            raise UsageError(f"{name}={value!r} is not {words}")
        if value is not None and kind is int and name != "seed" and value >= LARGEST:
            raise UsageError(f"{name}={value} is not below {LARGEST:,}")
    for name in ("remove_invalid_values", "renormalize_logits"):
        if not isinstance(getattr(config, name), bool):
            raise UsageError(f"{name}={getattr(config, name)!r} is not true or false")
    if config.cache not in (None, "int8"):
        raise UsageError(f"cache={config.cache!r} is not int8", hint="leave it out to keep the dtype of the model")
    if config.early_stopping != "never" and not isinstance(config.early_stopping, bool):
        raise UsageError(f"early_stopping={config.early_stopping!r} is not true, false or 'never'")
    if not isinstance(config.stop, list) or not all(isinstance(text, str) for text in config.stop):
        raise UsageError(f"stop={config.stop!r} is not a list of texts")
    if "" in config.stop:
        raise UsageError("stop contains an empty text: every generation would end at once")
    _check_tokens(config)
    _check_forms(config)
    _check_together(config)


def _is_number(value: object, kind: type) -> bool:
    wanted = int if kind is int else int | float
    return isinstance(value, wanted) and not isinstance(value, bool) and math.isfinite(value)


def _check_tokens(config: GenerationConfig) -> None:
    """Lists of token ids, and lists of such lists."""
    for name in ("suppress_tokens", "begin_suppress_tokens", "eos_token_id", "forced_eos_token_id"):
        value = getattr(config, name)
        if value is not None and not are_tokens(value):
            raise UsageError(f"{name}={value!r} is not a list of token ids")
    words = config.bad_words_ids
    if not isinstance(words, list) or not all(are_tokens(word) and word for word in words):
        raise UsageError(f"bad_words_ids={words!r} is not a list of lists of token ids")
    biases = config.sequence_bias
    if not isinstance(biases, list) or not all(map(_is_bias, biases)):
        raise UsageError(f"sequence_bias={biases!r} is not a list of [[token ids], number]")


def are_tokens(value: object) -> bool:
    """Whether it is a list of token ids."""
    return isinstance(value, list) and all(type(token) is int and 0 <= token < LARGEST for token in value)


def _is_bias(value: object) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    return (
        is_pair
        and bool(value[0])
        and are_tokens(value[0])
        and (
            value[1] == -math.inf or _is_number(value[1], float)  # minus infinity is a ban
        )
    )


def _check_forms(config: GenerationConfig) -> None:
    decay = config.exponential_decay_length_penalty
    if decay is not None and not (
        isinstance(decay, list) and len(decay) == 2 and _is_number(decay[0], float) and decay[0] >= 0
        and decay[0] == int(decay[0]) and _is_number(decay[1], float) and decay[1] > 0
    ):  # fmt: skip
        raise UsageError(f"exponential_decay_length_penalty={decay!r} is not [tokens before it begins, factor above 0]")
    if config.regex is not None and config.json_schema is not None:
        raise UsageError("regex and json_schema do not go together: a text has one form")
    if config.regex is not None and not isinstance(config.regex, str):
        raise UsageError(f"regex={config.regex!r} is not a text")
    if config.is_constrained and config.stop:
        raise UsageError("stop cannot be used with regex or json_schema, which end the text themselves")


def _check_together(config: GenerationConfig) -> None:
    if config.num_beams % config.num_beam_groups:
        raise UsageError(f"num_beams={config.num_beams} is not a multiple of num_beam_groups={config.num_beam_groups}")
    if config.num_beam_groups > 1 and not config.is_greedy:
        raise UsageError(
            f"num_beam_groups={config.num_beam_groups} and temperature={config.temperature} do not go together",
            hint="set temperature=0 for groups of beams, or num_beam_groups=1 to sample",
        )
    if config.diversity_penalty and config.num_beam_groups == 1:
        raise UsageError(
            f"diversity_penalty={config.diversity_penalty} is between groups of beams, and there is one",
            hint="set num_beam_groups=2 or more, or diversity_penalty=0",
        )
    count = config.num_return_sequences
    if count > 1 and config.num_beams == 1 and config.is_greedy:
        raise UsageError(
            f"num_return_sequences={count}: greedy decoding would say the same {count} times",
            hint="set a temperature above 0, or num_beams",
        )
    if count > config.num_beams > 1:
        raise UsageError(f"num_return_sequences={count} is more than num_beams={config.num_beams}")
    forced = {"forced_bos_token_id": [config.forced_bos_token_id], "forced_eos_token_id": config.forced_eos_token_id}
    for name, tokens in forced.items():
        if tokens and set(tokens) <= set(config.suppress_tokens):
            raise UsageError(f"{name}={tokens!r} is in suppress_tokens too: no token would be left")
