"""A stream of tokens becomes a stream of text that joined is the decoded whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend

from zoo.text import Tokenizer

from .tiny import byte_level, sentencepiece_like, texts, write


@pytest.fixture(params=[byte_level, sentencepiece_like])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> Tokenizer:
    backend: Backend = request.param()
    return Tokenizer.from_folder(write(tmp_path, backend, {"bos_token": "<s>"}))


def streamed(tokenizer: Tokenizer, ids: list[int], context: list[int] | None = None, **options: bool) -> str:
    stream = tokenizer.decode_stream(context or [], **options)
    return "".join(stream.push(token) for token in ids) + stream.finish()


def test_texts_come_back_whole(tokenizer: Tokenizer):
    for text in texts():
        ids = tokenizer.encode(text)
        assert streamed(tokenizer, ids) == tokenizer.decode(ids)
        assert streamed(tokenizer, ids, skip_special_tokens=False) == tokenizer.decode(ids, skip_special_tokens=False)


def test_so_do_tokens_in_no_order_at_all(tokenizer: Tokenizer):
    chance = random.Random(0)
    for _ in range(300):
        ids = [chance.randrange(tokenizer.vocab_size) for _ in range(chance.randrange(30))]
        assert streamed(tokenizer, ids) == tokenizer.decode(ids)
        assert streamed(tokenizer, ids, skip_special_tokens=False) == tokenizer.decode(ids, skip_special_tokens=False)


def test_a_continuation_is_what_the_prompt_lacks_of_the_whole(tokenizer: Tokenizer):
    chance = random.Random(1)
    tried = 0
    for text in texts():
        ids = tokenizer.encode(text)
        cut = chance.randrange(len(ids) + 1)
        before = tokenizer.decode(ids[:cut])
        if not before.endswith("\ufffd"):
            tried += 1
            assert before + streamed(tokenizer, ids[cut:], ids[:cut]) == tokenizer.decode(ids)
    assert tried > 150


def test_a_character_of_several_tokens_comes_when_it_is_complete(tokenizer: Tokenizer):
    ids = tokenizer.encode("🙈", add_special_tokens=False)
    assert len(ids) >= 3
    stream = tokenizer.decode_stream()
    pieces = [stream.push(token) for token in [*ids, *tokenizer.encode("a", add_special_tokens=False)]]
    assert "".join(pieces).replace(" ", "") == "🙈a"
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_prompt_may_end_within_a_character(tokenizer: Tokenizer):
    ids = tokenizer.encode("a🙈b", add_special_tokens=False)
    ids = ids[1:] if tokenizer.decode(ids[:1]) == "" else ids
    for cut in range(2, len(ids) - 1):
        assert streamed(tokenizer, ids[cut:], ids[:cut]).lstrip() in ("🙈b", "b")


def test_words_come_one_by_one(tokenizer: Tokenizer):
    ids = tokenizer.encode("the time of the engineer")
    stream = tokenizer.decode_stream()
    assert all(stream.push(token) for token in ids if token != tokenizer.bos_token_id)


def test_a_character_that_stays_incomplete_comes_at_the_end_as_a_mark(tokenizer: Tokenizer):
    ids = tokenizer.encode("a🙈", add_special_tokens=False)[:-1]
    stream = tokenizer.decode_stream()
    assert not any("\ufffd" in stream.push(token) for token in ids)
    assert stream.finish().endswith("\ufffd")


def test_a_token_that_came_before_is_decoded_once(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    ids = tokenizer.encode("the time of the engineer", add_special_tokens=False)
    streamed(tokenizer, ids)
    decoded: list[list[int]] = []
    decode = tokenizer.decode
    monkeypatch.setattr(tokenizer, "decode", lambda ids, skip: decoded.append([*ids]) or decode(ids, skip))
    stream = tokenizer.decode_stream()
    begun = len(decoded)
    assert "".join(stream.push(token) for token in ids) == decode(ids)
    assert len(decoded) - begun == len(ids)
    assert max(map(len, decoded)) == 2


def test_what_tokens_add_joined_as_bytes_is_the_text(tokenizer: Tokenizer):
    """Behind a token that stands there already: at its very beginning a text loses a space."""
    before = tokenizer.encode("a", add_special_tokens=False)
    for text in texts():
        ids = tokenizer.encode(text)
        whole = tokenizer.decode([*before, *ids])
        assert tokenizer.decode(before).encode() + b"".join(map(tokenizer.bytes_of, ids)) == whole.encode()


def test_special_tokens_add_nothing_or_their_names(tokenizer: Tokenizer):
    bos = tokenizer.bos_token_id
    assert bos is not None
    assert (tokenizer.bytes_of(bos), tokenizer.bytes_of(bos, skip_special_tokens=False)) == (b"", b"<s>")
    assert tokenizer.bytes_of(1 << 20) == b""  # as padded models have them
