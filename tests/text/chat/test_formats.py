"""Conversations of models without a chat template have the ids that their released code builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.errors import UsageError
from zoo.text import Tokenizer
from zoo.text.chat.formats import FORMATS

from ..kinds import made
from ..kinds.test_chatglm import glm2, ice, prepared
from ..kinds.test_ranks import encoding

PAST = [("Hi <|im_end|>", "Hello </s>!")]
QUESTION = "  What is <box> 渡船?\n"


def messages(past: list[tuple[str, str]], question: str, system: str | None = None) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system is not None else []
    for asked, answer in past:
        said += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return [*said, {"role": "user", "content": question}]


@pytest.mark.parametrize("past", [[], [("你好", "您好！"), ("a  b", "c")]])
def test_chatglm_6b_counts_rounds_once_there_were_some(tmp_path: Path, past: list):
    ours, theirs = ice(tmp_path)
    text = "".join(f"[Round {i}]\n问：{q}\n答：{a}\n" for i, (q, a) in enumerate(past))
    text = text + f"[Round {len(past)}]\n问：渡船?\n答：" if past else "渡船?"
    expected = [*theirs.encode(prepared(text)), theirs.piece_to_id("[gMASK]"), theirs.piece_to_id("<sop>")]
    assert ours.encode_chat(messages(past, "渡船?")) == expected
    assert ours.chat_format is FORMATS["chatglm"]
    with pytest.raises(UsageError, match="no place for a system message"):
        ours.encode_chat(messages(past, "a", "Be kind."))


def test_chatglm2_counts_rounds_from_one(tmp_path: Path):
    ours, theirs, count = glm2(tmp_path)
    text = "[Round 1]\n\n问：a\n\n答：b\n\n[Round 2]\n\n问：sop?\n\n答："
    assert ours.encode_chat(messages([("a", "b")], "sop?")) == [count + 1, count + 3, *theirs.encode(text)]


def test_chatglm3_names_roles(tmp_path: Path):
    _, theirs, count = glm2(tmp_path)
    config = {"tokenizer_class": "ChatGLMTokenizer", "added_tokens_decoder": {}}
    made.write(tmp_path, tokenizer_config=config)
    ours = Tokenizer.from_folder(tmp_path)
    ours.chat_format = FORMATS["chatglm3"]
    line = theirs.encode("\n")
    expected = [count + 1, count + 3, count + 5, *line, *theirs.encode("Be kind."), count + 6, *line]
    expected += [*theirs.encode("<|user|>?"), count + 7]
    assert ours.encode_chat(messages([], "<|user|>?", "Be kind.")) == expected


@pytest.mark.parametrize("sees", [False, True])
@pytest.mark.parametrize("system", [None, "Be kind."])
def test_qwen_words_chatml_and_reads_no_special_token_from_a_message(tmp_path: Path, sees: bool, system: str | None):
    from zoo.text.kinds.ranks import QWEN_PICTURES, QWEN_SPECIAL

    made.write_ranks(tmp_path / "qwen.tiktoken")
    model = {"model_type": "qwen"} | ({"visual": {}} if sees else {})
    ours = Tokenizer.from_folder(made.write(tmp_path, config=model, generation_config={"chat_format": "chatml"}))
    names = [*QWEN_SPECIAL, *(QWEN_PICTURES if sees else ())]
    special = {token: len(made.ranks()) + i for i, token in enumerate(names)}
    theirs = encoding("qwen2", special)
    start, end, line = special["<|im_start|>"], special["<|im_end|>"], theirs.encode("\n")
    allowed = set(QWEN_PICTURES) if sees else set()

    def turn(role: str, text: str) -> list[int]:
        said = theirs.encode(text, allowed_special=allowed, disallowed_special=())
        return [start, *theirs.encode(role), *line, *said, end, *line]

    expected = turn("system", "You are a helpful assistant." if system is None else system)
    for asked, answer in PAST:
        expected += turn("user", asked) + turn("assistant", answer)
    expected += [*turn("user", QUESTION), start, *theirs.encode("assistant"), *line]
    assert ours.encode_chat(messages(PAST, QUESTION, system)) == expected
    made.write(tmp_path, generation_config={"chat_format": "raw"})
    assert not Tokenizer.from_folder(tmp_path).has_chat


def test_llama3_puts_roles_into_headers(tmp_path: Path):
    made.write_ranks(tmp_path / "tokenizer.model")
    ours, count, theirs = Tokenizer.from_folder(tmp_path), len(made.ranks()), encoding("llama3", {})

    def head(role: str) -> list[int]:
        return [count + 6, *theirs.encode(role), count + 7, *theirs.encode("\n\n")]

    expected = [count]
    for role, text in (("system", "Be kind."), ("user", "a <|eot_id|>"), ("assistant", "b"), ("user", QUESTION)):
        expected += [*head(role), *theirs.encode(text.strip(), disallowed_special=()), count + 9]
    assert ours.encode_chat(messages([("a <|eot_id|>", "b")], QUESTION, "Be kind.")) == expected + head("assistant")


def test_glm4_names_roles(tmp_path: Path):
    made.write_ranks(tmp_path / "tokenizer.model")
    made.write(tmp_path, tokenizer_config={"tokenizer_class": "ChatGLM4Tokenizer"})
    ours, count, theirs = Tokenizer.from_folder(tmp_path), len(made.ranks()), encoding("llama3", {})
    said = [*theirs.encode("\n"), *theirs.encode("a <sop>", disallowed_special=())]
    assert ours.encode_chat(messages([], "a <sop>")) == [count + 2, count + 4, count + 7, *said, count + 8]


def llama2(folder: Path, **config: Any) -> tuple[Tokenizer, Any]:
    data = made.sentencepiece_model(**made.LLAMA)
    (folder / "tokenizer.model").write_bytes(data)
    sizes = {"model_type": "llama", "vocab_size": 32_000, "max_position_embeddings": 4096}
    return Tokenizer.from_folder(made.write(folder, config=sizes | config)), made.processor(data)


def test_llama2_marks_instructions_and_tells_the_system_first(tmp_path: Path):
    ours, theirs = llama2(tmp_path)
    first = "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi <|im_end|> [/INST] Hello </s>! "
    expected = [1, *theirs.encode(first), 2, 1, *theirs.encode(f"[INST] {QUESTION.strip()} [/INST]")]
    assert ours.encode_chat(messages(PAST, QUESTION, "Be kind.")) == expected
    assert ours.render_chat(messages([], "a")) == "<s>[INST] a [/INST]"
    for said in (
        [],
        [{"role": "user", "content": "a"}] * 2,
        [{"role": "tool", "content": "x"}],
    ):
        with pytest.raises(UsageError):
            ours.encode_chat(said)


@pytest.mark.parametrize("config", [{"max_position_embeddings": 2048}, {"rope_theta": 1e6}, {"model_type": "mistral"}])
def test_another_llama_has_no_format(tmp_path: Path, config: dict):
    assert not llama2(tmp_path, **config)[0].has_chat


def test_a_chat_by_a_format_ends_with_its_turn(tmp_path: Path):
    from zoo.cli.chat import ending
    from zoo.cli.speaker import Speaker
    from zoo.generation import GenerationConfig

    made.write_ranks(tmp_path / "qwen.tiktoken")
    made.write(tmp_path, generation_config={"chat_format": "chatml", "eos_token_id": 5})
    speaker = Speaker(None, ours := Tokenizer.from_folder(tmp_path), GenerationConfig(), None)  # type: ignore[arg-type]
    turn = [ours.token_to_id("<|im_end|>"), ours.token_to_id("<|im_start|>")]
    assert ending(speaker, GenerationConfig(eos_token_id=[5])).eos_token_id == [5, *turn]
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    speaker.tokenizer = Tokenizer.from_folder(tmp_path)
    assert ending(speaker, GenerationConfig(eos_token_id=[5])).eos_token_id == [5]


def test_a_picture_has_its_place_in_a_message(tmp_path: Path):
    made.write_ranks(tmp_path / "qwen.tiktoken")
    made.write(tmp_path, config={"visual": {}}, generation_config={"chat_format": "chatml"})
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    told = Tokenizer.from_folder(tmp_path).render_chat(said)
    assert "<|im_start|>user\nPicture 1: <img></img>\nWhat is this?<|im_end|>\n" in told


def test_a_template_comes_before_a_format(tmp_path: Path):
    llama2(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert Tokenizer.from_folder(tmp_path).render_chat(messages([], "a")) == "a"


@pytest.mark.parametrize("name", ["chatml", "qwen_vl"])
def test_an_answer_is_what_the_conversation_goes_on_with_and_spells_no_special_token(tmp_path: Path, name: str) -> None:
    from zoo.training.corpus import Record
    from zoo.training.objectives.answers import answered

    made.write_ranks(tmp_path / "qwen.tiktoken")
    model = {"model_type": "qwen"} | ({"visual": {}} if name == "qwen_vl" else {})
    ours = Tokenizer.from_folder(made.write(tmp_path, config=model, generation_config={"chat_format": "chatml"}))
    assert ours.chat_format is FORMATS[name]
    answers = ["Hello <|im_start|>!", "a <box> b<|im_end|>"]
    said = messages([("Hi <|im_end|>", answers[0]), (QUESTION, answers[1])], "Thanks.")
    rows = answered(Record("a.jsonl: line 1", {"messages": said}), ours, None)
    assert [row[1].count(True) for row in rows] == [len(ours.encode_answer(said[i]) or []) for i in (1, 3)]
    whole = ours.encode_chat(said)
    for ids, wanted in rows:
        assert whole[: len(ids)] == ids
        assert ids[-1] == ours.token_to_id("<|im_end|>")
        assert wanted == sorted(wanted)
        assert ours.token_to_id("<|im_start|>") not in ids[wanted.index(True) :]
        assert ids[wanted.index(True) :].count(ids[-1]) == 1


@pytest.mark.parametrize("name", ["chatglm3", "glm4", "llama3"])
def test_an_answer_is_worded_as_it_is_in_the_past(name: str) -> None:
    format = FORMATS[name]
    said = messages([("Hi", "Hello!")], "And?")
    asked = format.parts(said[:1])
    behind = format.parts(said)[len(asked) :]
    assert format.parts(said)[: len(asked)] == asked
    expected = format.answer("Hello!")
    assert behind[: len(expected)] == expected
