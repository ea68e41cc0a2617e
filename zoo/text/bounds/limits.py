"""What may happen to a text on its way through a tokenizer from a stranger, and how it is kept to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, UsageError, WrongType, ZooError, clean
from zoo.text.bounds.apart import Stopped, apart
from zoo.text.bounds.patterns import PatternCost

FREE_BYTES = 1 << 20  # of normalized text: so much is never looked at
MAX_MEASURED_GROWTH = 12  # times longer that a text really becomes; U+FDFA 11 times in the form NFKD
SLICE_CHARS = 2048
FREE_STEPS = 2e7  # of a pattern, tenths of a second; beyond that it runs where it can be stopped
SECONDS, CHARS_PER_SECOND = 1.5, 200_000


@dataclass(frozen=True)
class Limits:
    """What the file of a tokenizer says about its cost; those that zoo builds itself have the usual steps only."""

    growth: float = 1  # of the normalizer, in bytes
    patterns: list[tuple[str, PatternCost]] = field(default_factory=list)  # where each stands

    def costly(self, num_chars: int) -> str | None:
        """Where a pattern stands that may be too slow for a text of `num_chars`."""
        num_chars = int(num_chars * min(self.growth, MAX_MEASURED_GROWTH))
        return next((place for place, cost in self.patterns if cost.steps(num_chars) > FREE_STEPS), None)


@dataclass(frozen=True)
class Encoded:
    """A text as tokens: their ids, the characters that each stands for, and 1 where one was put around the text."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    special_tokens_mask: list[int]


def encode(
    backend: Backend, text: str, add_special_tokens: bool, *, limits: Limits, file: object, with_offsets: bool = False
) -> Encoded:
    """`text` as tokens; where each stands is looked up only if asked.

    Raises UsageError for what is no text, CheckpointError for a tokenizer out of bounds.
    """
    if not isinstance(text, str):
        raise WrongType("what is to be read", text, "a text")
    if not _is_utf8(text):
        raise UsageError(f"{clean(repr(text)[:200])} cannot be written as UTF-8")

    def work() -> list[list]:
        _check_growth(backend, text, limits, file)
        found = backend.encode(text, add_special_tokens=add_special_tokens)
        return [found.ids, found.offsets, found.special_tokens_mask] if with_offsets else [found.ids, [], []]

    if place := limits.costly(len(text)):
        try:
            ids, offsets, mask = apart(work, SECONDS + len(text) / CHARS_PER_SECOND)
        except Stopped as error:
            what = f"is too slow for this text of {len(text):,} characters: {clean(error)}"
            raise CheckpointError(file, place, what) from None
        return Encoded(ids, [(begin, end) for begin, end in offsets], mask)
    try:
        return Encoded(*work())
    except BaseException as error:
        if not is_of_library(error):
            raise
        what = f"cannot encode this text of {len(text):,} characters: {clean(error)}"
        raise CheckpointError(file, _blamed(backend, text), what) from None


@contextmanager
def guarded(file: object, item: str, what: str) -> Iterator[None]:
    """Turn whatever the library raises, its panics too, which are no Exceptions, into a CheckpointError."""
    try:
        yield
    except BaseException as error:
        if not is_of_library(error):
            raise
        raise CheckpointError(file, item, f"{what}: {clean(error)}") from None


def is_of_library(error: BaseException) -> bool:
    """Whether `tokenizers` raised it: it has no kinds of its own, and its panics are not even Exceptions."""
    is_panic = type(error).__name__ == "PanicException"
    return is_panic or (isinstance(error, Exception) and not isinstance(error, ZooError))


def _blamed(backend: Backend, text: str) -> str:
    """The first section that fails on `text` by itself."""
    section = "normalizer"
    try:
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        section = "pre_tokenizer"
        pieces = [(text, (0, 0))] if backend.pre_tokenizer is None else backend.pre_tokenizer.pre_tokenize_str(text)
        section = "model"
        for piece, _ in pieces:
            backend.model.tokenize(piece)
    except BaseException as error:
        if not is_of_library(error):
            raise
        return section
    return "post_processor"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_growth(backend: Backend, text: str, limits: Limits, file: object) -> None:
    """Refuse a text that really grows beyond reason, found slice by slice before the whole is normalized."""
    if len(text) * limits.growth <= FREE_BYTES or limits.growth <= MAX_MEASURED_GROWTH or backend.normalizer is None:
        return
    most, total = FREE_BYTES + MAX_MEASURED_GROWTH * len(text.encode()), 0
    for start in range(0, len(text), SLICE_CHARS):
        total += len(backend.normalizer.normalize_str(text[start : start + SLICE_CHARS]).encode())
        if total > most:
            what = f"makes a text of {len(text):,} characters more than {MAX_MEASURED_GROWTH} times as long"
            raise CheckpointError(file, "normalizer", what)


def within_rows(found: Encoded, num_rows: int, name_of: Callable[[int], str | None]) -> Encoded:
    """What was found. Raises UsageError for a token without a row in the model's embedding."""
    if (wrong := max(found.ids, default=0)) >= num_rows:
        what = f"the text has the token {wrong} ({clean(repr(name_of(wrong)))}), outside the model's"
        hint = "is this the model's own tokenizer? a token that was added to it needs a row in the embedding"
        raise UsageError(f"{what} vocabulary of {num_rows}", hint=hint)
    return found
