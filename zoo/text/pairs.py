"""Two texts as one row of tokens, as cross-encoders and models of inference read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.errors import CheckpointError, UsageError
from zoo.text.bounds.limits import guarded
from zoo.text.tokenizer import Tokenizer

PROBE = "a"  # what stands in the place of either text while their frame is looked up
FIRST, BOTH = "first", "longest"  # which of the two is cut: the first alone, or the longer one, and then each in turn


@dataclass(frozen=True)
class TypedIds:
    """Ids of tokens, and the type of each: 0 for the first text, for the second what the tokenizer says."""

    ids: list[int]
    types: list[int]


@dataclass(frozen=True)
class PairFrame:
    """What stands before, between and behind two texts that become one row."""

    before: TypedIds
    between: TypedIds
    after: TypedIds
    types: tuple[int, int]  # of the tokens of the two

    @property
    def num_tokens(self) -> int:
        """Tokens that are of neither text."""
        return len(self.before.ids) + len(self.between.ids) + len(self.after.ids)

    def around(self, first: Sequence[int], second: Sequence[int]) -> TypedIds:
        """The row of two texts whose tokens these are."""
        texts = [TypedIds([*ids], [kind] * len(ids)) for ids, kind in zip((first, second), self.types, strict=True)]
        parts = (self.before, texts[0], self.between, texts[1], self.after)
        return TypedIds([i for part in parts for i in part.ids], [t for part in parts for t in part.types])


def frame_of(tokenizer: Tokenizer) -> PairFrame:
    """How a tokenizer joins two texts. Raises CheckpointError where nothing says how."""
    if not tokenizer.joins:
        what, hint = "nothing beside it says how two texts become one row", "use a folder with a tokenizer.json"
        raise CheckpointError(tokenizer.file, "post_processor", what, hint=hint)
    with guarded(tokenizer.file, "post_processor", "cannot join two texts"):
        found = tokenizer.backend.encode(PROBE, PROBE)
    places = [[i for i, text in enumerate(found.sequence_ids) if text == side] for side in (0, 1)]
    if not all(places) or places[0][-1] >= places[1][0]:
        raise CheckpointError(
            tokenizer.file, "post_processor", "does not put two texts one behind the other, once each"
        )
    cuts = [(0, places[0][0]), (places[0][-1] + 1, places[1][0]), (places[1][-1] + 1, len(found.ids))]
    kinds = found.type_ids[places[0][0]], found.type_ids[places[1][0]]
    before, between, after = (TypedIds(found.ids[a:b], found.type_ids[a:b]) for a, b in cuts)
    return PairFrame(before, between, after, kinds)


def joined(
    tokenizer: Tokenizer, frame: PairFrame, pair: tuple[str, str], *, limit: int | None, cut: str = BOTH
) -> TypedIds:
    """The row of two texts, of at most `limit` tokens: the end of a text is cut off, of which one `cut` says.

    Raises UsageError where the rest would be no text: of a first one that is to be cut alone, or of both.
    """
    first, second = (tokenizer.encode(text, add_special_tokens=False) for text in pair)
    over = 0 if limit is None else len(first) + len(second) + frame.num_tokens - limit
    if limit is None or over <= 0:
        return frame.around(first, second)
    keep = (
        (len(first) - over, len(second)) if cut == FIRST else shared(len(first), len(second), limit - frame.num_tokens)
    )
    if min(keep) < 1:
        raise UsageError(f"two texts of {len(first)} and {len(second)} tokens do not fit into {limit}", hint="cut them")
    return frame.around(first[: keep[0]], second[: keep[1]])


def shared(first: int, second: int, room: int) -> tuple[int, int]:
    """Tokens that are kept of two texts, as tokenizers cut the longest first: the shorter whole, or half of all."""
    low, high = sorted((first, second))
    low, high = (low, room - low) if low <= room - low else (room // 2, room - room // 2)
    return (low, high) if first <= second else (high, low)
