"""What a section of a tokenizer.json may do to a text, at each limit and one beyond; growth is counted in bytes."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.text.bounds.components import check_section

BYTES = {"type": "ByteLevel"}
A, B = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
MARK = {"SpecialToken": {"id": "x", "type_id": 0}}


def steps(key: str, *nodes: Any) -> dict[str, Any]:
    return {"type": "Sequence", key: list(nodes)}


def nested(depth: int) -> dict[str, Any]:
    return {"type": "NFC"} if depth == 0 else steps("normalizers", nested(depth - 1))


def replace(old: dict[str, str], new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": old, "content": new}


def frame(single: Any = (), pair: Any = (), ids: Any = ()) -> dict[str, Any]:
    explained = {"x": {"id": "x", "ids": list(ids), "tokens": []}}
    return {"type": "TemplateProcessing", "single": list(single), "pair": list(pair), "special_tokens": explained}


def effect(section: str, node: Any) -> Any:
    return check_section({section: node}, section, "x")


@pytest.mark.parametrize(
    ("section", "node", "growth"),
    [
        ("normalizer", None, 1),
        ("normalizer", {"type": "Lowercase"}, 1),
        ("normalizer", BYTES, 2),  # a byte becomes a letter of two
        ("normalizer", steps("normalizers", BYTES, BYTES), 4),
        ("pre_tokenizer", BYTES | {"add_prefix_space": False}, 2),
        ("pre_tokenizer", BYTES | {"add_prefix_space": True}, 4),  # and a space before each piece another
        ("decoder", BYTES | {"add_prefix_space": True}, 1),
        ("post_processor", BYTES | {"add_prefix_space": True}, 1),
        ("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, 4),
        ("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}, 3),
        ("pre_tokenizer", {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}, 2),
        ("decoder", {"type": "Metaspace", "replacement": "▁"}, 1),
        ("normalizer", {"type": "Prepend", "prepend": "▁a"}, 5),
        ("decoder", {"type": "CTC", "word_delimiter_token": "|"}, 1),
        ("decoder", {"type": "CTC", "word_delimiter_token": ""}, 2),
        ("decoder", {"type": "BPEDecoder", "suffix": "</w>"}, 1),
        ("decoder", {"type": "BPEDecoder", "suffix": ""}, 2),
        ("decoder", {"type": "WordPiece"}, 2),
        ("decoder", {"type": "Fuse"}, 1),
        ("normalizer", replace({"String": "ab"}, "abcde"), 2.5),
        ("normalizer", replace({"String": "▁"}, "é" * 3), 2),
        ("normalizer", replace({"String": "ab"}, "a"), 1),
        ("normalizer", replace({"Regex": "x*"}, "bbb"), 4),  # between all letters
        ("normalizer", replace({"Regex": "xy"}, "bbb"), 1.5),
        ("normalizer", {"type": "NFC"}, 11),  # U+FDFA in NFKD: 33 bytes for 3
        ("normalizer", steps("normalizers", {"type": "NFKD"}, {"type": "NFC"}), 11),
        ("normalizer", steps("normalizers", BYTES, {"type": "NFKD"}), 22),
    ],
)
def test_a_step_makes_a_text_longer_by_so_many_bytes(section: str, node: Any, growth: float) -> None:
    assert effect(section, node).growth == growth


def one_of(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind} | more


TEXTS = ("content", "prepend", "suffix", "prefix", "pad_token", "word_delimiter_token", "replacement")
PRE = one_of("ByteLevel", add_prefix_space=True)
# section, what is at the limit, what is one beyond
LIMITS: list[tuple[str, Any, Any]] = [
    ("normalizer", steps("normalizers", *[{"type": "NFC"}] * 63), steps("normalizers", *[{"type": "NFC"}] * 64)),
    ("normalizer", nested(8), nested(9)),
    *(("decoder", one_of("Strip", **{key: "x" * 256}), one_of("Strip", **{key: "x" * 257})) for key in TEXTS),
    ("normalizer", one_of("Prepend", prepend="x" * 63), one_of("Prepend", prepend="x" * 64)),
    ("pre_tokenizer", steps("pretokenizers", PRE, PRE), steps("pretokenizers", PRE, PRE, BYTES)),
    ("decoder", steps("decoders", *[one_of("WordPiece")] * 3), steps("decoders", *[one_of("WordPiece")] * 4)),
    ("decoder", one_of("Strip", start=0), one_of("Strip", start=-1)),
    ("decoder", one_of("Strip", start=64), one_of("Strip", start=65)),
    ("decoder", one_of("Strip", stop=0), one_of("Strip", stop=1)),
    ("decoder", one_of("Strip", stop=0), one_of("Strip", stop=-1)),
    ("pre_tokenizer", one_of("FixedLength", length=1), one_of("FixedLength", length=0)),
    ("pre_tokenizer", one_of("FixedLength", length=1 << 20), one_of("FixedLength", length=(1 << 20) + 1)),
    ("pre_tokenizer", one_of("Split", pattern={"String": "x"}), one_of("Split", pattern={"String": ""})),
    (
        "pre_tokenizer",
        one_of("Split", pattern={"String": "x" * 256}),
        one_of("Split", pattern={"String": "x" * 257}),
    ),
    ("decoder", replace({"Regex": "a+"}, "a"), replace({"Regex": "a+b"}, "ab")),  # the second goes back over a text
    ("pre_tokenizer", one_of("Split", pattern={"Regex": "a+b"}), one_of("Split", pattern={"Regex": "(a+)+b"})),
    ("pre_tokenizer", steps("pretokenizers"), steps("pretokenizers", None)),
    ("pre_tokenizer", steps("pretokenizers"), {"type": "Sequence", "pretokenizers": None}),
    ("pre_tokenizer", None, []),
    ("pre_tokenizer", {"type": "Digits"}, {"type": "NFC"}),
    ("post_processor", frame([A], [A, B]), frame([A, A], [A, B])),
    ("post_processor", frame([A], [A, B]), frame([A, B], [A, B])),
    ("post_processor", frame([A], [A, B]), frame([A], [A, A])),
    ("post_processor", frame([A], [A, B]), frame([A], [B, B])),
    ("post_processor", frame([MARK] * 64), frame([MARK] * 65)),
    ("post_processor", frame([MARK] * 2, ids=range(32)), frame([MARK] * 2, ids=range(33))),
    ("post_processor", frame([A, "odd", {"Sequence": 5}]), frame() | {"single": {}}),
    ("post_processor", frame([A]), frame([A]) | {"special_tokens": []}),
    ("post_processor", frame([A]), frame([A], {"pair": 5}) | {"pair": 5}),
    ("post_processor", frame([MARK]), frame([MARK]) | {"special_tokens": {}}),
    ("post_processor", frame([MARK]), frame([MARK]) | {"special_tokens": {"x": []}}),
    ("post_processor", frame([MARK]), frame([MARK]) | {"special_tokens": {"x": {"ids": 5}}}),
    ("post_processor", steps("processors", frame(), BYTES), steps("processors", frame(), frame())),
    ("post_processor", steps("processors", frame()), steps("processors", frame(), one_of("BertProcessing", cls=["a"]))),
    ("decoder", frame([A, A]) | {"type": "Fuse"}, None),  # only a post-processor puts anything around a text
]


@pytest.mark.parametrize(("section", "at_the_limit", "beyond"), LIMITS)
def test_what_is_at_a_limit_is_read_and_what_is_beyond_is_refused(section: str, at_the_limit: Any, beyond: Any) -> None:
    effect(section, at_the_limit)
    if beyond is not None:
        with pytest.raises(CheckpointError, match=section):
            effect(section, beyond)


def test_a_pattern_is_kept_with_its_place() -> None:
    split = one_of("Split", pattern={"Regex": "a*b"})
    found = effect("pre_tokenizer", steps("pretokenizers", {"type": "Digits"}, split)).patterns
    assert [(place, cost.degree) for place, cost in found] == [("pre_tokenizer.pretokenizers[1]", 1)]


def test_an_error_of_growth_says_how_much_there_is_and_may_be() -> None:
    with pytest.raises(CheckpointError, match=r"(?s)normalizer: .* 65 times .* 64 times"):
        effect("normalizer", one_of("Prepend", prepend="x" * 64))
