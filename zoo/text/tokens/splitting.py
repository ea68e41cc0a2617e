"""How byte-level vocabularies cut a text into words before they merge: rules that GGUF files name, and do not spell.

Each is that of the tokenizer.json which the model was released with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_QWEN35 = _QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Splitting:
    """One rule: cut by the patterns in turn, or by GPT-2's where there is none."""

    pattern: str | None = None
    single_digits: bool = False  # every digit is a word of its own
    whole_words: bool = False  # a word that is a token is taken whole, whatever the merges say
    add_bos: bool = False  # a file that does not say wants the begin token
    before: tuple[str, ...] = ()  # patterns that cut first
    is_normalized: bool = False  # text is composed first (Unicode NFC)

    def pre_tokenizer(self) -> Any:
        """The rule as `tokenizers` has it."""
        steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if self.single_digits else []
        patterns = (*self.before, *([] if self.pattern is None else [self.pattern]))
        steps += [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=self.pattern is None))
        return pre_tokenizers.Sequence(steps)


_GPT2 = Splitting()
_DIGITS = Splitting(single_digits=True)
_LLAMA3_RULE = Splitting(_LLAMA3, whole_words=True, add_bos=True)

SPLITTINGS = {
    "gpt-2": _GPT2, "phi-2": _GPT2, "mpt": _GPT2, "olmo": _GPT2, "modern-bert": Splitting(is_normalized=True),
    "smollm": _DIGITS, "starcoder": _DIGITS, "refact": _DIGITS, "codeshell": _DIGITS,
    "llama-bpe": _LLAMA3_RULE, "llama3": _LLAMA3_RULE, "llama-v3": _LLAMA3_RULE,
    "qwen2": Splitting(_QWEN2, is_normalized=True), "qwen35": Splitting(_QWEN35, is_normalized=True),
    "tekken": Splitting(_TEKKEN, whole_words=True, add_bos=True),
    "glm4": Splitting(_LLAMA3), "bloom": Splitting(_BLOOM),
    "deepseek-v3": Splitting(_DEEPSEEK3[-1], before=_DEEPSEEK3[:-1]),
    "gpt-4o": Splitting(_GPT4O), "llama4": Splitting(_GPT4O),
}  # fmt: skip
