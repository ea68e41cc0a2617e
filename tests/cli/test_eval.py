"""`zoo eval`: what users see, on mistakes and otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zoo.measurement.evaluation
from zoo.cli import main


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["eval", *words])


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["tiny", "--limit", "3"], "--include-path, --limit and --num-fewshot need --tasks"),
        (["tiny", "--tasks", ","], "--tasks has no task name\n--tasks lambada_openai"),
        (["tiny", "--window", "0"], "--window 0 is not at least 1"),
        (
            ["tiny", "--text", "no.txt"],
            "no.txt: No such file or directory\ntype sample for the text in the box, or the name of a file",
        ),
        (["tini"], "'tini' is neither a folder, a file nor a preset\ndid you mean: tiny?"),
        (["tiny", "--window", "8", "--stride", "9"], "stride=9 is not between 1 and the window of 8 tokens"),
        (["tiny", "--dtype", "int3"], "dtype='int3' is not a floating-point type\ntry float32, bfloat16 or float16"),
    ],
)  # fmt: skip
def test_a_mistake_prints_these_lines_and_no_traceback(words: list[str], printed: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {printed}\n"


def test_tasks_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.measurement.evaluation, "find_spec", lambda name: None)
    result = run("tiny", "--tasks", "lambada_openai")
    assert result.exit_code == 3
    assert result.stderr == "error: --tasks needs the package lm-eval\npip install 'zoo-lm[eval]'\n"


def test_texts_are_told_in_a_table_and_as_json(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("She had been very ill.")
    header, row = [line.split("\t") for line in run("tiny", "--text", str(file)).stdout.splitlines()]
    assert header == ["text", "tokens", "bytes", "perplexity", "bits/byte", "nats/token", "right"]
    assert row[0] == str(file)
    told = json.loads(run("tiny", "--text", str(file), "--window", "4", "--stride", "2", "--json").stdout)
    reading = told["texts"][str(file)]
    assert (reading["bytes"], reading["window"], reading["stride"], reading["begins_with"]) == (22, 4, 2, "bos")
    assert int(row[1]) == reading["tokens"]
    assert told["environment"]["zoo"]
