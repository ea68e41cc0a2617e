# ruff: noqa: E501 - each case is a line, to be read as one
"""When a text is looked at before it is encoded, when that is done apart, and what is told where the library fails."""

from __future__ import annotations

import base64
import json
import os
import resource
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import normalizers
from tokenizers.models import WordLevel

from zoo.errors import CheckpointError, UsageError, ZooError
from zoo.text.bounds import apart as module
from zoo.text.bounds import charsmap, limits
from zoo.text.bounds.charsmap import longest_replacement
from zoo.text.bounds.limits import Limits, encode, is_of_library
from zoo.text.bounds.patterns import PatternCost


def backend(**vocab: int) -> Backend:
    return Backend(WordLevel(vocab or {"a": 0}, unk_token="a"))


QUADRATIC = ("pre_tokenizer.pattern", PatternCost(1))


@pytest.mark.parametrize(
    ("growth", "patterns", "num_chars", "where"),
    [
        (1, [QUADRATIC], 4472, None),  # 4472² is below 20 million steps, and 4473² above
        (1, [QUADRATIC], 4473, "pre_tokenizer.pattern"),
        (2, [QUADRATIC], 2236, None),  # on what the normalizer makes
        (2, [QUADRATIC], 2237, "pre_tokenizer.pattern"),
        (64, [QUADRATIC], 372, None),  # which is 12 times as long at most
        (64, [QUADRATIC], 373, "pre_tokenizer.pattern"),
        (1, [("a", PatternCost(0)), ("b", PatternCost(2)), QUADRATIC], 4473, "b"),
        (1, [], 1 << 40, None),
    ],
)
def test_a_pattern_is_too_slow_for_so_many_characters(
    growth: float, patterns: Any, num_chars: int, where: str | None
) -> None:
    assert Limits(growth, patterns).costly(num_chars) == where


@pytest.mark.parametrize("slice_chars", [1, 2, 100])
def test_a_text_that_really_grows_beyond_reason_is_refused(slice_chars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 16)
    monkeypatch.setattr(limits, "SLICE_CHARS", slice_chars)
    grows = backend()
    grows.normalizer = normalizers.Replace("a", "a" * 20)
    wide = Limits(20)  # a text of n letters may become 16 + 12n bytes: 20n are that for two, and more for three
    encode(grows, "aa", False, limits=wide, file="x")
    with pytest.raises(CheckpointError, match=r"x: normalizer: .* 3 characters more than 12 times"):
        encode(grows, "aaa", False, limits=wide, file="x")
    encode(grows, "b" * 100, False, limits=wide, file="x")
    encode(grows, "aaa", False, limits=Limits(12), file="x")  # a file that says less is not measured
    encode(backend(), "aaa", False, limits=wide, file="x")
    grows.normalizer = normalizers.Replace("é", "a" * 40)  # bytes are counted: 16 + 12 * 2n for n letters, 40n found
    encode(grows, "é", False, limits=wide, file="x")
    with pytest.raises(CheckpointError, match="normalizer"):
        encode(grows, "éé", False, limits=wide, file="x")


def test_a_short_text_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    grows = backend()
    grows.normalizer = normalizers.Replace("a", "a" * 40)
    monkeypatch.setattr(limits, "FREE_BYTES", 40)
    monkeypatch.setattr(limits, "MAX_MEASURED_GROWTH", -100)  # which no text could keep to
    encode(grows, "a", False, limits=Limits(40), file="x")
    with pytest.raises(CheckpointError):
        encode(grows, "aa", False, limits=Limits(40), file="x")


@pytest.mark.parametrize(
    ("text", "told"),
    [(5, "is of type int, not a text"), (None, "of type NoneType"), (b"a", "of type bytes"), ("\ud800", "UTF-8")],
)
def test_what_is_no_text_is_not_encoded(text: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        encode(backend(), text, False, limits=Limits(), file="x")


def test_offsets_are_looked_up_only_if_asked() -> None:
    for with_offsets, offsets, mask in ((False, [], []), (True, [(0, 1)], [0])):
        found = encode(backend(), "a", False, limits=Limits(), file="x", with_offsets=with_offsets)
        assert (found.ids, found.offsets, found.special_tokens_mask) == ([0], offsets, mask)


def fails(*_: object, **__: object) -> Any:
    raise ValueError("broken")


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "model", "blamed"),
    [
        (fails, None, None, "normalizer"),
        (lambda text: text * 2, fails, None, "pre_tokenizer"),
        (None, None, fails, "model"),
        (None, lambda text: [("b", (0, 1))], lambda piece: fails() if piece == "b" else [], "model"),
        (lambda text: "b", None, lambda piece: fails() if piece == "b" else [], "model"),
        (None, None, lambda piece: [], "post_processor"),
    ],
)
def test_the_section_that_fails_is_blamed(normalizer: Any, pre_tokenizer: Any, model: Any, blamed: str) -> None:
    parts = SimpleNamespace(
        encode=fails,
        normalizer=normalizer and SimpleNamespace(normalize_str=normalizer),
        pre_tokenizer=pre_tokenizer and SimpleNamespace(pre_tokenize_str=pre_tokenizer),
        model=SimpleNamespace(tokenize=model),
    )
    with pytest.raises(CheckpointError, match=f"^x: {blamed}: .*: broken"):
        encode(parts, "a", False, limits=Limits(), file="x")  # type: ignore[arg-type]  # a stand-in


class PanicException(BaseException):
    """As pyo3 calls what Rust ends with."""


def test_what_the_library_raises_is_told_apart_from_what_others_do() -> None:
    for error, is_its in (
        (ValueError(), True),
        (PanicException(), True),
        (ZooError("x"), False),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
    ):
        assert is_of_library(error) is is_its
    with pytest.raises(CheckpointError, match="x: part: is odd: broken"), limits.guarded("x", "part", "is odd"):
        fails()
    with pytest.raises(KeyboardInterrupt), limits.guarded("x", "part", "is odd"):
        raise KeyboardInterrupt


# The copy of the process ends without a word to what watches the tests, so its parts are tried in this one.
class Left(BaseException):
    """In place of the end of the process."""


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda: [1, "é"], {"value": [1, "é"]}),
        (lambda: fails(), {"error": "broken"}),
        (lambda: (_ for _ in ()).throw(PanicException("x" * 2000)), {"error": "x" * 1000}),
        (lambda: {1}, {"error": "Object of type set is not JSON serializable"}),
        (lambda: "x" * 100, {"value": "x" * 100}),
    ],
)
def test_a_copy_says_what_became_of_its_work(work: Any, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    quiet: list[int] = []
    monkeypatch.setattr(os, "_exit", lambda code: (_ for _ in ()).throw(Left(code)))
    monkeypatch.setattr(os, "dup2", lambda fd, to: quiet.append(to))
    monkeypatch.setattr(module, "_limit", lambda seconds: quiet.append(-seconds))
    monkeypatch.setattr(module.os, "write", lambda fd, data, whole=os.write: whole(fd, data[:7]))  # as pipes may
    with pytest.raises(Left) as left:
        module._work_and_leave(work, os.dup(reader), writer, 3)
    os.close(writer)
    with open(reader, "rb") as said:
        assert json.loads(said.read()) == told
    assert (left.value.args, quiet) == ((0,), [2, -3])


def test_a_copy_may_use_a_little_more_memory_and_time_than_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, Any] = {}
    monkeypatch.setattr(resource, "setrlimit", lambda what, pair: asked.update({what: pair}))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    module._limit(3.7)
    assert asked[resource.RLIMIT_CPU] == (5, 5)
    soft, hard = asked[resource.RLIMIT_AS]
    assert soft == hard
    assert abs(soft - (pages * os.sysconf("SC_PAGESIZE") + (400 << 20))) < 64 << 20


def test_a_copy_leaves_nothing_open_and_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, copies = os.fork, []
    monkeypatch.setattr(os, "fork", lambda: copies.append(fork()) or copies[-1])
    before = sorted(os.listdir("/proc/self/fd"))
    assert module.apart(lambda: "é" * 100_000, 5) == "é" * 100_000
    with pytest.raises(module.Stopped, match="broken"):
        module.apart(fails, 5)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert len(copies) == 2
    for copy in copies:
        with pytest.raises(ChildProcessError):
            os.waitpid(copy, os.WNOHANG)


def test_work_is_done_here_where_nothing_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    assert module.apart(lambda: os.getpid(), 0) == os.getpid()


def table(units: list[int], texts: bytes = b"ab\0", size: int | None = None) -> str:
    size = 4 * len(units) if size is None else size
    return base64.b64encode(struct.pack(f"<{len(units) + 1}I", size, *units) + texts).decode()


def plain(first: int = 0, last: int = 0) -> list[int]:
    return [first, *[0] * 254, last]


VALUE, HAS_VALUE = 1 << 31, 1 << 8
TABLES: list[tuple[Any, Any]] = [  # read, refused
    (table(plain()), 5),
    (table(plain()), table(plain()) + "="),
    (table(plain()), table(plain(), size=1025)),
    (table(plain()), table(plain(), b"", size=1028)),
    (table(plain()), table([])),
    (table(plain()), table([0] * 255)),  # a step may lead to any of 256 units
    (table(plain(), b"a" * 64), table(plain(), b"a" * 65)),
    (table(plain(), b"\0" + b"a" * 64), table(plain(), b"\xff\0")),
    (table([*plain(HAS_VALUE | 1 << 10)[:1], VALUE, *[0] * 254]), table([HAS_VALUE | 1 << 10, VALUE | 3, *[0] * 254])),
    (table([HAS_VALUE | 1 << 10, VALUE | 2, *[0] * 254]), table([HAS_VALUE | 1 << 10, VALUE | 1, *[0] * 254], "é".encode())),
    (table(plain(1 << 10)), table(plain(1 << 18))),
    (table([*plain(), *plain()]), table(plain(1 << 10 | 1 << 9))),  # an offset that is 256 times as far
    (table([1 << 10 | 1 << 9, *[0] * 511]), table([2 << 10 | 1 << 9, *[0] * 511])),
    (table(plain(0, VALUE | 1 << 18)), table(plain(VALUE | 1 << 18))),  # only the first is a step whatever it says
]  # fmt: skip


@pytest.mark.parametrize(("read", "refused"), TABLES, ids=range(len(TABLES)))
def test_a_table_is_read_that_leads_nowhere_else(read: Any, refused: Any) -> None:
    longest_replacement(read, "normalizer", "x")
    with pytest.raises(CheckpointError, match=r"^x: normalizer.precompiled_charsmap: "):
        longest_replacement(refused, "normalizer", "x")


def test_a_table_has_a_size_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, is_read in ((4 + 1024 + 3, True), (4 + 1024 + 2, False)):
        monkeypatch.setattr(charsmap, "MAX_TABLE_BYTES", most)
        if is_read:
            assert longest_replacement(table(plain()), "normalizer", "x") == 2
        else:
            with pytest.raises(CheckpointError):
                longest_replacement(table(plain()), "normalizer", "x")
    monkeypatch.setattr(charsmap, "MAX_TABLE_BYTES", len(table(plain())) // 2 - 1)
    with pytest.raises(CheckpointError):
        longest_replacement(table(plain()), "normalizer", "x")
