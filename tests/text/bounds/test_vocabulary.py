"""The vocabulary and the added tokens of a tokenizer.json: each guard once, each limit and one beyond."""

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.text.bounds import vocabulary
from zoo.text.bounds.vocabulary import check_added, check_model


def model(vocab: Any = None, merges: Any = (), **more: Any) -> dict[str, Any]:
    return {"vocab": {"a": 0, "b": 1, "ab": 2} if vocab is None else vocab, "merges": list(merges)} | more


PREFIXED = {"a": 0, "##b": 1, "ab": 2, "b": 3, "a##b": 4}
LIMITS: list[tuple[str, Any, Any]] = [  # the key told, what is at a limit, what is beyond
    ("model", model(), [model()]),
    ("model.vocab", model({}), {"merges": []}),
    ("model.vocab", model({}), model("ab")),
    ("model.vocab", model({"a": 0}), model({"a": 0.0})),
    ("model.vocab", model({"a": 0}), model({"a": True})),
    ("model.vocab", model({"a": 0}), model({"a": -1})),
    ("model.vocab", model({"a": (1 << 20) - 1}), model({"a": 1 << 20})),
    ("model.vocab", model({"x" * 1024: 0}), model({"a": 1, "x" * 1025: 0})),
    *(
        (f"model.{key}", model({}, **{key: "x" * 32}), model({}, **{key: "x" * 33}))
        for key in ("continuing_subword_prefix", "end_of_word_suffix")
    ),
    ("model.max_input_chars_per_word", model(max_input_chars_per_word=200), model(max_input_chars_per_word=201)),
    ("model.merges", model(), model() | {"merges": {}}),
    ("model.merges", model(), model(continuing_subword_prefix=5)),
    ("model.merges[0]", model(merges=[["a", "b"]]), model(merges=[["b", "a"]])),
    ("model.merges[0]", model(merges=["a b"]), model(merges=["a  b"])),
    ("model.merges[1]", model(merges=["#version: 0.2", "a b"]), model(merges=["a b", "ab"])),
    ("model.merges[0]", model({"#version": 0}, ["#version: 1"]), model(merges=[["#version", "b"]])),
    ("model.merges[0]", model(merges=[["a", "b"]]), model(merges=[["a", "b", "b"]])),
    ("model.merges[0]", model(merges=[["a", "b"]]), model(merges=[["c", "b"]])),
    ("model.merges[0]", model(merges=[["a", "b"]]), model(merges=[["a", "c"]])),
    ("model.merges[0]", model(merges=[["a", "b"]]), model(merges=[["a", 1]])),
    ("model.merges[0]", model(merges=[["a", "b"]]), model(merges=[[1, "b"]])),
    ("model.merges[0]", model(merges=[["a", "b"]]), model(merges=[5])),
    (
        "model.merges[0]",
        model(PREFIXED, [["a", "##b"]], continuing_subword_prefix="##"),
        model(PREFIXED, [["a", "b"]], continuing_subword_prefix="##"),
    ),
    (
        "model.merges[0]",
        model(PREFIXED, [["a", "##b"]]),
        model({"a": 0, "##b": 1, "a##b": 2}, [["a", "##b"]], continuing_subword_prefix="##"),
    ),
    ("model.vocab[0]", model([["x" * 256, -1.0]]), model([["x" * 257, -1.0]])),
    ("model.vocab[1]", model([["x", -1.0]]), model([["x", -1.0], ["y"]])),
    ("model.vocab[0]", model([]), model(["xy"])),
    ("model.vocab[0]", model([]), model([[5, -1.0]])),
]


@pytest.mark.parametrize(("key", "at_the_limit", "beyond"), LIMITS)
def test_a_model_at_a_limit_is_read_and_one_beyond_is_refused_by_its_key(key: str, at_the_limit: Any, beyond: Any):
    check_model(at_the_limit, "x")
    with pytest.raises(CheckpointError) as caught:
        check_model(beyond, "x")
    assert str(caught.value).startswith(f"x: {key}: ")


def test_the_number_of_tokens_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MAX_TOKENS", 3)
    for three, four in (({"a": 0, "b": 1, "c": 2}, dict.fromkeys("abcd", 0)), ([["a", 0]] * 3, [["a", 0]] * 4)):
        check_model(model(three), "x")
        with pytest.raises(CheckpointError, match=r"model.vocab"):
            check_model(model(four), "x")


def test_unigram_has_so_many_nodes_as_its_pieces_have_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    for _ in range(50):
        pieces = ["".join(chance.choices("abé", k=chance.randrange(5))) for _ in range(chance.randrange(12))]
        raw = [piece.encode() for piece in pieces]
        beginnings = len({piece[:i] for piece in raw for i in range(1, len(piece) + 1)})
        for most in (beginnings, beginnings - 1):
            monkeypatch.setattr(vocabulary, "MAX_TRIE_NODES", most)
            with nullcontext() if most >= beginnings else pytest.raises(CheckpointError, match=r"model.vocab"):
                check_model(model([[piece, -1.0] for piece in pieces]), "x")


def added(content: Any, **more: Any) -> dict[str, Any]:
    return {"content": content} | more


ADDED: list[tuple[Any, Any]] = [
    ([], {}),
    (["x" * 1024], ["x" * 1025]),
    ([added("x" * 1024)], [added("x" * 1025)]),
    (["x"], [""]),
    (["x"], [added("")]),
    (["x"], [added(None)]),
    (["x"], [5]),
    ([added("x", id=0)], [added("x", id=-1)]),
    ([added("x", id=(1 << 20) - 1)], [added("x", id=1 << 20)]),
    ([added("x", id="odd")], [added("x", id=1 << 40)]),
    ([*"abc"], [*"abcd"]),  # three tokens are allowed here
    ([added("x" * 20)], [added("x" * 20), "y"]),  # and 20 bytes
    ([added("é" * 10)], [added("é" * 11)]),
    ([added("x" * 20, normalized=True)], [added("x" * 20, normalized=True), added("y", normalized=False)]),
]


@pytest.mark.parametrize(("at_the_limit", "beyond"), ADDED)
def test_added_tokens_at_a_limit_are_read_and_beyond_it_refused(
    at_the_limit: Any, beyond: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "MAX_ADDED_TOKENS", 3)
    monkeypatch.setattr(vocabulary, "MAX_ADDED_BYTES", 1024 if "x" * 1024 in str(at_the_limit) else 20)
    check_added(at_the_limit, 64, "x")
    with pytest.raises(CheckpointError, match=r"^x: added_tokens"):
        check_added(beyond, 64, "x")


@pytest.mark.parametrize(
    ("token", "growth", "is_read"),
    [
        (added("x" * 10, normalized=True), 64, True),
        (added("x" * 10, normalized=True), 65, False),
        (added("x" * 10, normalized=False), 65, True),
        (added("x" * 10), 65, True),
        ("x" * 10, 65, True),
    ],
)
def test_only_tokens_that_are_normalized_grow(
    token: Any, growth: float, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "MAX_ADDED_BYTES", 10)
    with nullcontext() if is_read else pytest.raises(CheckpointError, match=r"^x: extra: "):
        check_added([token], growth, "x", "extra")
