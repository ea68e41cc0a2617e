"""A regular expression that must be completed soon: it is joined with a length, and the library does the rest.

Every token has a byte at least. So a text is completed in time if it can be in as many characters of ASCII as tokens
are left, or in a quarter as many of any kind. The length is what was said and that: it grows with every longer token
that is said, and binds no sooner than it must.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.generation.form.reading import FAR, FormState, unpacked


class Within:
    """The closing of regular expressions."""

    def __init__(self, pattern: str, spelling: Any) -> None:
        self.pattern, self.spelling = pattern, spelling

    def narrowed(self, state: FormState, allowed: Tensor, scores: Tensor, left: int) -> Tensor:
        """See `Closing`."""
        if left > FAR:
            return allowed
        state.tight = state.tight or self._tight(state, left)
        if state.tight is None:
            return allowed
        near = unpacked(state.tight.compute_bitmask(), len(allowed)).to(allowed.device)
        if not near.equal(allowed):  # the length binds: what was said since leaves a longer one
            state.tight = self._tight(state, left) or state.tight
            near = unpacked(state.tight.compute_bitmask(), len(allowed)).to(allowed.device)
        return near & allowed

    def _tight(self, state: FormState, left: int) -> Any:
        """A matcher of the form within the length; None where nothing completes the text within it."""
        from llguidance import LLMatcher, regex_to_lark

        said = len(self.spelling.decode_str(list(state.tokens)))
        length = rf"(?s:.{{0,{said}}})([\x00-\x7f]{{0,{left}}}|(?s:.{{0,{left // 4}}}))"
        grammar = f"start: TEXT\nTEXT: /{regex_to_lark(self.pattern)}/ & /{length}/\n"
        matcher = LLMatcher(self.spelling, LLMatcher.grammar_from_lark(grammar), log_level=0)
        if matcher.is_error() or matcher.try_consume_tokens(list(state.tokens)) < len(state.tokens):
            return None
        if matcher.is_accepting():
            return matcher
        ends = {*self.spelling.eos_tokens}  # all that is left to a matcher that has nothing to say
        may = unpacked(matcher.compute_bitmask(), self.spelling.vocab_size).nonzero().flatten().tolist()
        return None if ends.issuperset(may) else matcher
