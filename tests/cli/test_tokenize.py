"""`zoo tokenize` shows a text as tokens, to people and to pipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.terminal import on_terminal
from tests.text.tiny import byte_level, write
from zoo.cli import main
from zoo.text import open_tokenizer

TEXT = "One day, 漢\n"


def run(*words: str, piped: str | None = None) -> Result:
    return CliRunner().invoke(main, ["tokenize", *words], input=piped)


def test_a_pipe_gets_a_row_for_each_token():
    told = run("tiny", "-p", TEXT)
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    assert rows[0] == ["id", "piece", "text"]
    assert [int(row[0]) for row in rows[1:]] == open_tokenizer("tiny").encode(TEXT)
    assert rows[1] == ["1", "<s>", ""]
    assert rows[-1][2] == "\\n"
    assert "tiny: BPE (tokenizer.json), 2,048 tokens" in told.stderr


def test_the_text_may_be_a_file_or_piped(tmp_path: Path):
    (tmp_path / "story.txt").write_text(TEXT)
    given = [
        run("tiny", "-q", "-p", TEXT),
        run("tiny", str(tmp_path / "story.txt"), "-q"),
        run("tiny", "-q", piped=TEXT),
    ]
    assert len({each.stdout for each in given}) == 1
    assert [int(word) for word in given[0].stdout.split()] == open_tokenizer("tiny").encode(TEXT)
    assert run("tiny", "-q", "--no-special", "-p", TEXT).stdout.split() == given[0].stdout.split()[1:]


def test_json_has_places(tmp_path: Path):
    [found] = json.loads(run("tiny", "-p", TEXT, "--json").stdout)
    assert (found["source"], found["kind"], found["vocab_size"]) == ("tiny", "BPE (tokenizer.json)", 2048)
    assert [token["id"] for token in found["tokens"]] == open_tokenizer("tiny").encode(TEXT)
    assert {token["begin"] for token in found["tokens"]} >= {0, 9}
    other = str(write(tmp_path, byte_level()))
    assert [each["source"] for each in json.loads(run("tiny", other, "-p", TEXT, "--json").stdout)] == ["tiny", other]


def test_two_sources_stand_side_by_side_where_both_have_an_end(tmp_path: Path):
    folder = str(write(tmp_path, byte_level()))
    rows = [line.split("\t") for line in run("tiny", folder, "-p", TEXT).stdout.splitlines()]
    assert rows[0] == ["text", "tiny", "ids", folder, "ids"]
    assert "".join(row[0] for row in rows[1:]) == "One·day,·漢\\n"
    for source, column in (("tiny", 2), (folder, 4)):
        ids = [int(word) for row in rows[1:] for word in row[column].split()]
        assert ids == open_tokenizer(source).encode(TEXT)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny", "tiny", "tiny", "-p", "a"], "3 sources, and two at most"),
        (["nothing-of-the-kind", "-p", "a"], "neither a folder, a file nor a preset"),
        (["tiny", "-p", "a\ud800"], "UTF-8"),
    ],
)
def test_mistakes_are_told(words: list[str], message: str):
    told = run(*words)
    assert told.exit_code != 0
    assert message in told.stderr


@pytest.mark.slow  # starts a process
def test_a_terminal_gets_a_table():
    told = on_terminal("tokenize", "tiny", "-p", TEXT)
    assert told.splitlines()[0].split() == ["id", "piece", "text"]
    assert "\t" not in told
