"""Settings of generation on the command line: words, forms of texts, and those of a checkpoint that are not known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zoo
from zoo.cli import main
from zoo.text import Tokenizer

TINY = Path(zoo.__file__).parent / "box" / "tiny"


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, list(words), input=stdin, catch_exceptions=False)


@pytest.mark.slow
def test_words_set_what_has_no_option_of_its_own() -> None:
    words = ("generate", "tiny", "-p", "One day", "--tokens", "6", "--json")
    free = json.loads(run(*words).stdout)[0]["tokens"]
    banned = f"generation.bad_words_ids=[[{free[0]}]]"
    assert free[0] not in json.loads(run(*words, banned).stdout)[0]["tokens"]
    drawn = run(
        *words, "generation.num_return_sequences=2", "generation.num_beams=3", "generation.early_stopping=never"
    )
    first, second = json.loads(drawn.stdout)
    assert (first["prompt"], first["prompt"] == second["prompt"], first["tokens"] != second["tokens"]) == (
        "One day",
        True,
        True,
    )


def test_words_and_options_are_judged_together() -> None:
    words = ("--tokens", "2", "--temperature", "1", "--seed", "1", "generation.num_return_sequences=2", "--json")
    assert len(json.loads(run("generate", "tiny", "-p", "One day", *words).stdout)) == 2


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["generation.top_kk=3"], "there is no setting 'top_kk' of generation\ndid you mean: top_k, top_p, top_h?"),
        (["generation.top_k=many"], "top_k='many' is not at least 1"),
        (["generation.top_k=1,2"],
         "generation.top_k=1,2: only one value can be set\nto give a list: 'generation.top_k=[…]'"),
        (["generation.top_k"],
         "generation.top_k has no value\ngeneration.top_k=VALUE, or generation.top_k=null for none"),
        (["--json-schema", "none.json"],
         "none.json: No such file or directory\n--json-schema takes a file, or JSON that begins with {"),
        (["generation.num_return_sequences=2"],
         "num_return_sequences=2: greedy decoding would say the same 2 times\nset a temperature above 0, or num_beams"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(words: list[str], printed: str) -> None:
    done = run("generate", "tiny", "-p", "One day", *words)
    assert (done.exit_code, done.stderr) == (2, f"error: {printed}\n")


def test_settings_of_the_file_that_zoo_does_not_know_are_refused_or_ignored(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    (folder / "generation_config.json").write_text('{"max_time": 3, "max_length": 9, "eos_token_id": 2}')
    words = ("generate", str(folder), "-p", "One day")
    refused = run(*words)
    assert refused.exit_code == 1
    assert refused.stderr.endswith(
        "generation_config.json: max_time: zoo does not support max_time=3\n"
        "to leave out what zoo does not know: --ignore-settings, or ignore_settings=True in Python\n"
    )
    done = run(*words, "--ignore-settings", "--json")
    assert "note: generation_config.json: max_time=3 is ignored" in done.stderr
    tokens = json.loads(done.stdout)[0]["tokens"]
    prompt = len(Tokenizer.from_folder(folder).encode("One day"))
    assert prompt + len(tokens) == 9
    assert "max_time=3 is ignored" in run("chat", str(folder), "--ignore-settings", stdin="One day\n").stderr


def test_a_text_is_of_the_form_that_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("llguidance", reason="the extra form is not installed")
    asked = run("generate", "tiny", "-p", "One day", "--regex", " (yes|no)", "--tokens", "4")
    assert asked.stdout in ("One day yes\n", "One day no\n")
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "integer", "minimum": 3, "maximum": 9}')
    answers = [
        run("generate", "tiny", "-p", "One day", "--json-schema", given, "--json", "--tokens", "4").stdout
        for given in (str(schema), schema.read_text())
    ]
    assert answers[0] == answers[1]
    assert 3 <= int(json.loads(answers[0])[0]["text"]) <= 9
