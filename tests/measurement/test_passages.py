"""A text becomes tokens and windows: each token is predicted once, with the context that was promised."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.measurement.models import TINY
from zoo.errors import UsageError, ZooError
from zoo.measurement.passages import Passage, check_window, encode, read_text, windows
from zoo.text import Tokenizer

TEXT = "Emma’s naïve 猫 sat.\n\nShe had been"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(TINY)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Tiny's tokenizer with nothing put before a text, as GPT-2's."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder)
    told = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(told | {"post_processor": None}))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    left = {key: value for key, value in config.items() if key != "add_bos_token"}
    (folder / "tokenizer_config.json").write_text(json.dumps(left))
    return Tokenizer.from_folder(folder)


def of(num_tokens: int, first: int) -> Passage:
    return Passage("x" * num_tokens, [0] * num_tokens, [(i, i + 1) for i in range(num_tokens)], first, True)


@pytest.mark.slow
@given(st.integers(2, 60), st.integers(1, 3), st.integers(3, 20), st.integers(1, 20))
def test_every_token_is_predicted_once_in_windows_that_fit(num: int, first: int, size: int, stride: int) -> None:
    num, stride = max(num, first + 1), min(stride, size)
    predicted = []
    for number, w in enumerate(windows(of(num, first), size, stride)):
        assert 0 < w.end - w.start <= size
        assert w.start <= w.scored < w.end
        if number:
            assert w.scored - w.start >= size - stride  # what stands before the first prediction of a later window
        predicted += range(w.scored + 1, w.end + 1)
    assert predicted == list(range(first, num))


def test_bos_is_read_and_every_byte_predicted(tokenizer: Tokenizer) -> None:
    passage = encode(tokenizer, TEXT)
    assert (passage.has_bos, passage.first, passage.ids[0]) == (True, 1, tokenizer.bos_token_id)
    assert passage.num_bytes == len(TEXT.encode())
    assert passage.num_scored == len(tokenizer.encode(TEXT)) - 1


def test_without_bos_the_first_token_and_its_bytes_are_not_predicted(bare: Tokenizer) -> None:
    passage = encode(bare, TEXT)
    first = bare.decode(passage.ids[:1])
    assert (passage.has_bos, passage.first) == (False, 1)
    assert TEXT.startswith(first)
    assert passage.num_bytes == len(TEXT.encode()) - len(first.encode())


def test_what_the_tokenizer_puts_behind_a_text_is_left_out() -> None:
    from zoo.text.reading.source import TokenizerSource, frame

    tokenizer = Tokenizer.from_folder(TINY)
    frame(tokenizer.backend, "<s>", "</s>")
    passage = encode(Tokenizer(TokenizerSource(tokenizer.backend, "x")), TEXT)
    assert tokenizer.encode(TEXT)[-1] == tokenizer.eos_token_id
    assert passage.ids == tokenizer.encode(TEXT)[:-1]


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_with_nothing_to_predict_is_refused(bare: Tokenizer, text: str) -> None:
    with pytest.raises(UsageError, match="too short"):
        encode(bare, text)


def test_a_file_is_read_as_it_is_and_sample_is_in_the_box(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("a\r\nß".encode())
    assert read_text(file) == "a\r\nß"
    assert read_text("sample").startswith("When the ladies returned")
    file.write_bytes(b"a\xff")
    with pytest.raises(UsageError, match="byte 1 is not UTF-8"):
        read_text(file)
    with pytest.raises(UsageError, match="No such file"):
        read_text(tmp_path / "b.txt")


@pytest.mark.parametrize(("size", "stride"), [(4, 5), (4, 0), (0, 0)])
def test_windows_that_leave_tokens_out_are_refused(size: int, stride: int) -> None:
    with pytest.raises(ZooError):
        check_window(size, stride, of(9, 1))
