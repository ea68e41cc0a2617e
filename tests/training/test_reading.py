"""What rows are made of files: conversations worded by a chat template, and tables of the library datasets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import zoo
from zoo.errors import MissingExtra, UsageError
from zoo.text import Tokenizer
from zoo.training.corpus import reading
from zoo.training.corpus.reading import Record, read_records
from zoo.training.objectives.answers import answered
from zoo.training.settings import DataSettings

TINY = Path(zoo.__file__).parent / "box" / "tiny"
TEMPLATE = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<s>assistant: {% endif %}"
TALK = [
    {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Emma."},
    {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."},
]  # fmt: skip


def worded(folder: Path, template: str) -> Tokenizer:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder / name)
    (folder / "chat_template.jinja").write_text(template)
    return Tokenizer.from_folder(folder)


def test_of_a_conversation_the_assistants_words_alone_are_predicted(tmp_path: Path) -> None:
    tokenizer = worded(tmp_path, TEMPLATE)
    [(ids, wanted)] = answered(Record("x", {"messages": TALK}), tokenizer, 2)
    asked = tokenizer.encode_chat(TALK[:1], add_generation_prompt=True)
    assert ids[: len(asked)] == asked  # as in generation
    assert tokenizer.decode(ids, skip_special_tokens=False) == tokenizer.render_chat(TALK, add_generation_prompt=False)
    predicted = [i for i, is_wanted in zip(ids, wanted, strict=True) if is_wanted]
    assert tokenizer.decode(predicted, skip_special_tokens=False) == "Emma.</s>Because.</s>"


def test_a_template_is_told_of_the_tools_of_a_row(tmp_path: Path) -> None:
    template = "{% if tools %}[{% for t in tools %}{{ t.function.name }}{% endfor %}]{% endif %}" + TEMPLATE
    tokenizer = worded(tmp_path, template)
    tools = [{"type": "function", "function": {"name": "look"}}]
    [(ids, _)] = answered(Record("x", {"messages": TALK[:2], "tools": tools}), tokenizer, 2)
    assert tokenizer.decode(ids) == "[look]user: Who?assistant: Emma."
    with pytest.raises(UsageError, match="x: tools are not a list of objects"):
        answered(Record("x", {"messages": TALK, "tools": "look"}), tokenizer, 2)


def test_what_a_template_refuses_is_named_with_its_line(tmp_path: Path) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    row = {"messages": [{"role": "system", "content": "Be."}, *TALK]}
    with pytest.raises(UsageError, match=r"a\.jsonl: line 3: the chat template refuses these messages: no system"):
        answered(Record("a.jsonl: line 3", row), worded(tmp_path, refusing), 2)


def test_a_template_that_words_the_past_anew_is_refused(tmp_path: Path) -> None:
    tokenizer = worded(tmp_path, "{{ messages | length }}" + TEMPLATE)
    with pytest.raises(UsageError, match="words the beginning of a conversation otherwise"):
        answered(Record("x: line 3", {"messages": TALK}), tokenizer, 2)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"messages": [{"role": "user", "content": "Who?"}]}, "x has no message of the assistant"),
        ({"messages": "Who?"}, "x: messages are not a list of objects with a role"),
        ({"prompt": "Who?"}, "x has no answer\nit has: prompt"),
    ],
)
def test_a_row_without_an_answer_is_named(tmp_path: Path, values: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as error:
        answered(Record("x", values), worded(tmp_path, TEMPLATE), 2)
    assert str(error.value).startswith(told)


def test_a_conversation_needs_a_template(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no chat template"):
        answered(Record("x", {"messages": TALK}), Tokenizer.from_folder(TINY), 2)


def test_a_table_needs_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="datasets"):
        list(read_records([str(tmp_path / "a.parquet")], DataSettings()))


@pytest.mark.slow
def test_tables_and_saved_folders_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra data is not installed")
    rows = datasets.Dataset.from_dict({"text": ["One day", "She was"], "id": [1, 2]})
    rows.to_parquet(str(tmp_path / "a.parquet"))
    rows.save_to_disk(str(tmp_path / "saved"))
    for name in ("a.parquet", "saved"):
        found = list(read_records([str(tmp_path / name)], DataSettings()))
        assert [r.text("text") for r in found] == ["One day", "She was"]
        assert found[1].place == f"{tmp_path / name}: row 2"


def test_a_picture_is_beside_the_file_that_names_it(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (folder := tmp_path / name).mkdir()
        (folder / "a.png").write_bytes(b"")
        (file := folder / "rows.jsonl").write_text('{"image": "a.png"}\n{"image": "b.png"}\n')
        files.append(str(file))
    rows = list(read_records(files, DataSettings()))
    assert [rows[i].picture("a.png") for i in (0, 2)] == [tmp_path / "one" / "a.png", tmp_path / "two" / "a.png"]
    with pytest.raises(UsageError, match=r"two/rows\.jsonl: line 2: there is no picture .*two/b\.png"):
        rows[3].picture("b.png")
