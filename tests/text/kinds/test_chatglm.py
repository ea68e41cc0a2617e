"""ChatGLM's vocabularies, by the published algorithm with sentencepiece underneath."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.text import Tokenizer
from zoo.text.kinds.chatglm import GLM3_SPECIAL, ICE_SPECIAL, MOST_BLANKS

from . import made
from .passages import EVERY

BLANKS = [f"<|blank_{i}|>" for i in range(2, MOST_BLANKS + 1)]
ICE = {"model_type": "unigram", "user_defined_symbols": ["<n>", "<|tab|>", *BLANKS], "byte_fallback": True}
ICE |= {"control_symbols": ["<pad>", *ICE_SPECIAL]}


def prepared(text: str) -> str:
    """The text as the released code hands it to sentencepiece."""
    text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
    for count in range(MOST_BLANKS, 1, -1):
        text = text.replace(" " * count, f"<|blank_{count}|>")
    return text


def ice(folder: Path, **options: Any) -> tuple[Tokenizer, Any]:
    data = made.sentencepiece_model(800, **(ICE | options))
    (folder / "ice_text.model").write_bytes(data)
    return Tokenizer.from_folder(folder), made.processor(data)


def test_chatglm_6b_writes_out_lines_tabs_and_spaces(tmp_path: Path):
    ours, theirs = ice(tmp_path)
    ends = [theirs.piece_to_id("[gMASK]"), theirs.piece_to_id("<sop>")]
    for text in (text for text in (*EVERY, " " * 85 + "x", "a" + " " * 81) if "<" not in text):
        ids = theirs.encode(prepared(text))
        assert ours.encode(text) == [*ids, *ends], text
        back = ours.decode(ours.encode(text))
        assert prepared(back) == theirs.decode(ids), text
    found = ours.encode_with_offsets("a\n  b", add_special_tokens=False)
    assert [found.offsets[i] for i in (-3, -2, -1)] == [(1, 2), (2, 4), (4, 5)]


def test_a_text_that_spells_a_mask_of_chatglm_6b_is_a_text(tmp_path: Path):
    ours, theirs = ice(tmp_path)
    assert theirs.piece_to_id("[gMASK]") not in ours.encode("a [gMASK] b", add_special_tokens=False)
    assert theirs.piece_to_id("<sop>") in ours.encode("a<sop>b", add_special_tokens=False)  # it has a role


@pytest.mark.slow
def test_the_first_release_lacks_what_its_code_appended(tmp_path: Path):
    options = ICE | {"control_symbols": ["<pad>"], "user_defined_symbols": ["<n>"], "byte_fallback": False}
    data = made.sentencepiece_model(700, **options)
    (tmp_path / "ice_text.model").write_bytes(data)
    ours, count = Tokenizer.from_folder(tmp_path), made.processor(data).get_piece_size()
    assert ours.token_to_id("[MASK]") == 20_000 + count
    assert ours.token_to_id("<|blank_2|>") == 20_000 + count + len(ICE_SPECIAL) + 1
    assert ours.encode("the", add_special_tokens=False) == [20_000 + i for i in made.processor(data).encode("the")]


def glm2(folder: Path) -> tuple[Tokenizer, Any, int]:
    data = made.sentencepiece_model(**made.LLAMA)
    (folder / "tokenizer.model").write_bytes(data)
    made.write(folder, tokenizer_config={"tokenizer_class": "ChatGLMTokenizer"})
    theirs = made.processor(data)
    return Tokenizer.from_folder(folder), theirs, theirs.get_piece_size()


def test_chatglm2_puts_its_prefix_before_and_reads_no_special_token_from_a_text(tmp_path: Path):
    ours, theirs, count = glm2(tmp_path)
    for text in (text for text in EVERY if "<" not in text):  # philosophy and people have sop and eop in them
        assert ours.encode(text) == [count + 1, count + 3, *theirs.encode(text)], text
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)), text
    assert [ours.token_to_id(token) for token in GLM3_SPECIAL] == [*range(count, count + 9)]
    assert ours.eos_token_id == 2


def test_chatglm2_may_be_a_unigram(tmp_path: Path):
    (tmp_path / "tokenizer.model").write_bytes(made.sentencepiece_model(**made.NFKC))
    made.write(tmp_path, tokenizer_config={"tokenizer_class": "ChatGLMTokenizer"})
    theirs = made.processor(made.sentencepiece_model(**made.NFKC))
    ours, count = Tokenizer.from_folder(tmp_path), theirs.get_piece_size()
    assert ours.encode("the time") == [count + 1, count + 3, *theirs.encode("the time")]


@pytest.mark.parametrize("listed", [True, False])
def test_glm4_is_tiktoken_with_a_prefix(tmp_path: Path, listed: bool):
    tiktoken = pytest.importorskip("tiktoken", reason="it is the reference")
    from zoo.text.kinds.ranks import GLM4_SPECIAL
    from zoo.text.tokens.splitting import SPLITTINGS

    made.write_ranks(tmp_path / "tokenizer.model")
    count = len(made.ranks())
    special = {token: count + i for i, token in enumerate(GLM4_SPECIAL)}
    decoder = {str(index): {"content": token, "special": True} for token, index in special.items()}
    config = {"tokenizer_class": "ChatGLM4Tokenizer"} | ({"added_tokens_decoder": decoder} if listed else {})
    made.write(tmp_path, tokenizer_config=config)
    ours = Tokenizer.from_folder(tmp_path)
    pattern = SPLITTINGS["llama3"].pattern
    theirs = tiktoken.Encoding("glm4", pat_str=pattern, mergeable_ranks=made.ranks(), special_tokens=special)
    for text in EVERY:
        ids = theirs.encode(text, allowed_special="all")
        assert ours.encode(text) == [special["[gMASK]"], special["<sop>"], *ids], text
