"""A processor that holds every row to one form.

The library says which tokens may follow. What it does not say is whether a form can still be completed within the
tokens that are left: see within.py for regular expressions and ways.py for JSON.
Shapes: R rows, V vocab.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from zoo.errors import MissingExtra, UsageError, ZooError, clean
from zoo.generation.config import GenerationConfig
from zoo.generation.form.reading import Closing, FormState, unpacked
from zoo.generation.form.spelling import spelling_of
from zoo.generation.form.ways import Ways
from zoo.generation.form.within import Within
from zoo.generation.history import History

BLANKS = {"whitespace_pattern": "[ ]?"}  # where JSON allows any blanks, a small model may say nothing else


def form_of(config: GenerationConfig, tokenizer: Any, eos: frozenset[int], vocab_size: int | None) -> Form | None:
    """What holds texts to the form that a config asks for, None where it asks for none.

    Raises MissingExtra without llguidance, and UsageError for a form that it cannot read.
    """
    if not config.is_constrained:
        return None
    name = "regex" if config.regex is not None else "json_schema"
    if tokenizer is None:
        raise UsageError(f"{name} is about text and needs a tokenizer", hint="give tokenizer=")
    if not eos:
        raise UsageError(f"{name} needs an end token, and the model names none", hint="give eos_token_id")
    if find_spec("llguidance") is None:
        raise MissingExtra("llguidance", "form", name)
    spelling = spelling_of(tokenizer, sorted(eos), vocab_size)
    closing = Within(config.regex, spelling) if config.regex is not None else Ways(spelling, eos)
    reserve = int(bool(config.forced_eos_token_id))
    return Form(_matcher(config, name, spelling), spelling, eos, name, closing=closing, reserve=reserve)


def _matcher(config: GenerationConfig, name: str, spelling: Any) -> Any:
    from llguidance import LLMatcher

    if config.regex is not None:
        grammar = LLMatcher.grammar_from_regex(config.regex)
    else:
        schema = config.json_schema
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                json.loads(schema) if isinstance(schema, str) else schema, BLANKS
            )
        except ValueError as error:
            raise UsageError(f"json_schema is not JSON: {clean(error, 200)}") from None
    matcher = LLMatcher(spelling, grammar, log_level=0)
    if matcher.is_error():
        found = " ".join(matcher.get_error().split())
        raise UsageError(
            f"{name} cannot be held to", why=clean(found, 300), hint="llguidance's documentation names what can"
        )
    return matcher


class Form:
    """Bans what would leave the form, or could no longer be completed."""

    def __init__(
        self, matcher: Any, spelling: Any, eos: frozenset[int], name: str, *, closing: Closing, reserve: int = 0
    ) -> None:
        """`reserve` are tokens at the end that are not the form's: a forced end token."""
        self.name, self.eos, self.spelling, self.closing, self.reserve = name, eos, spelling, closing, reserve
        self._begin = FormState((), matcher)
        self._states: dict[tuple[int, ...], FormState] = {(): self._begin}  # by what was read

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        """Scores [R, V]; a row whose text has ended is left alone."""
        added, left = history.added.tolist(), (history.limits - history.num_new).tolist()
        allowed = torch.ones_like(scores, dtype=torch.bool)
        reached: dict[tuple[int, ...], FormState] = {}
        for i, tokens in enumerate(map(tuple, added)):
            if left[i] <= 0 or not self.eos.isdisjoint(tokens):
                continue
            reading = reached[tokens] = reached.get(tokens) or self._after(tokens)
            mask = unpacked(reading.matcher.compute_bitmask(), scores.shape[1]).to(scores.device)
            allowed[i] = self.closing.narrowed(reading, mask, scores[i], left[i] - self.reserve)
        late = history.num_new - 1  # groups of beams come one after the other, and read on from the same texts
        self._states = {key: r for key, r in (self._states | reached).items() if len(key) >= late}
        return scores.masked_fill(~allowed, -torch.inf)

    def check(self, tokens: Sequence[int], text: str) -> None:
        """Raise ZooError for a text that is not of the form: cut by the limit, or spelt otherwise by the tokenizer."""
        kept = [token for token in tokens if token not in self.eos]
        matcher = self._begin.matcher.deep_copy()
        if matcher.try_consume_tokens(kept) < len(kept) or not matcher.is_accepting():
            hint = "give more max_new_tokens"
            raise ZooError(f"{self.name}: {len(tokens)} tokens were not enough for a text of this form", hint=hint)
        if (spelt := self.spelling.decode_str(kept)) != text:
            what = f"{self.name}: the tokenizer says {clean(repr(text))} for {clean(repr(spelt))}, which is of the form"
            raise ZooError(what, hint="write the form without a blank at its beginning")

    def _after(self, tokens: tuple[int, ...]) -> FormState:
        """What has read `tokens`, of which all but the last were read before."""
        if tokens in self._states:
            return self._states[tokens]
        return self._states[tokens[:-1]].after(tokens[-1])
