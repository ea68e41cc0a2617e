"""Commands hand every option on, and tell what came of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from zoo import verification
from zoo.cli import main, pull


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def test_eval_hands_on_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    score = SimpleNamespace(task="t", metric="acc", filter="none", value=0.25, stderr=None)
    found = SimpleNamespace(
        family="llama",
        dtype="float16",
        texts={},
        references={},
        scores=[score],
        to_dict=lambda: {"a": 1},
        compile_seconds=12.3,
    )
    monkeypatch.setattr(
        "zoo.measurement.evaluation.evaluate", lambda *given, **more: asked.append((given, more)) or found
    )
    line = "tiny model.num_layers=2 family=llama --allow x --allow-pickle --tasks a,,b --include-path . --limit 3"
    done = run(
        "eval",
        *line.split(),
        *"--num-fewshot 0 --batch 5 --device meta --dtype float16 --compile --window 9 --stride 4".split(),
    )
    ((given, more),) = asked
    assert given == ("tiny", "model.num_layers=2")
    assert more.items() >= {
        "text": (), "tasks": ["a", "b"], "include_path": ".", "window": 9, "stride": 4, "limit": 3, "num_fewshot": 0,
        "batch_size": 5, "dtype": "float16", "device": "meta", "compile": True, "family": "llama", "allow": ("x",),
        "allow_pickle": True, "tell": None,
    }.items()  # fmt: skip
    assert done.stdout.splitlines() == ["task\tmetric\tfilter\tvalue\tstderr", "t\tacc\tnone\t0.25\t"]
    assert "tiny · llama · computed in float16" in done.stderr
    assert "compiled in 12 s" in done.stderr
    assert run("eval", "tiny", "--json").stdout == '{\n  "a": 1\n}\n'
    wrong_ones = (
        "--limit 3|--num-fewshot 0|--include-path .|--tasks ,|--tasks a --limit 0|--window 0|--stride 0|--batch 0"
    )
    for wrong in map(str.split, wrong_ones.split("|")):
        assert run("eval", "tiny", *wrong, code=2).stdout == ""
    assert len(asked) == 2


def test_verify_hands_on_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    found = SimpleNamespace(passed=True, table=lambda: "table", to_dict=lambda: {"a": 1})
    monkeypatch.setattr(verification, "verify", lambda *given, **more: asked.append((given, more)) or found)
    line = "tiny model.num_layers=2 family=llama --allow x --allow-pickle --dtype float32 --length 9 --limit 0.5"
    assert run("verify", *line.split(), "--against", "other").stdout == "table\n"
    assert run("verify", "tiny", "--json").stdout == '{\n  "a": 1\n}\n'
    found.passed = False
    run("verify", "tiny", code=1)
    assert asked[0] == (
        ("tiny", "model.num_layers=2"),
        {"family": "llama", "allow": ("x",), "allow_pickle": True, "dtype": "float32", "length": 9, "limit": 0.5,
         "against": "other"},
    )  # fmt: skip
    assert asked[1][1]["against"] == "transformers"


def test_compare_hands_on_every_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    found = SimpleNamespace(
        html=lambda: "page",
        to_dict=lambda: {"a": 1},
        markdown=lambda is_short: "| md |",
        measurements=None,
        rows=(),
        subjects=(),
    )
    monkeypatch.setattr("zoo.cli.compare.compare", lambda *given, **more: asked.append((given, more)) or found)
    page = tmp_path / "x.html"
    words = ["compare", "a", "b", "--length", "9", "--lora-rank", "3", "--bytes-dtype", "float16"]
    done = run(*words, "--html", str(page))
    assert (done.stdout, page.read_text()) == ("", "page")
    assert "4 B" in done.stderr
    assert list(tmp_path.iterdir()) == [page]
    plain = {"length": 9, "lora_rank": 3, "bytes_dtype": "float16", "text": None, "adapter": None}
    assert asked.pop() == (("a", "b"), plain)
    more = ["--text", "sample", "--speed", "--window", "8", "--stride", "4", "--dtype", "float32", "--device", "meta"]
    assert run(*words, *more, "--md").stdout == "| md |\n"
    told = asked.pop()[1]
    assert (told["text"], told["speed"], told["window"], told["stride"]) == ("sample", True, 8, 4)
    assert (told["dtype"], told["device"], told["tell"]) == ("float32", "meta", None)
    assert run(*words, "--json").stdout == '{\n  "a": 1\n}\n'
    for wrong in (["--speed"], ["--window", "8"], ["--dtype", "float32"], ["--json", "--md"], ["--html", "x.txt"],
                  ["--html", str(tmp_path / "no" / "x.html")]):  # fmt: skip
        run(*words, *wrong, code=2)


def test_pull_tells_what_would_come(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        SimpleNamespace(name="a", nbytes=1024, is_cached=True),
        SimpleNamespace(name="b", nbytes=1, is_cached=False),
    ]
    found = SimpleNamespace(
        files=files, repo="org/name", commit="0123456789ab", revision="v1", nbytes=1025, missing_bytes=1,
        folder="/there", to_dict=lambda: {"a": 1},
    )  # fmt: skip
    asked: list[Any] = []
    monkeypatch.setattr(pull, "pull", lambda *given, **more: asked.append((given, more)) or found)
    words = ["pull", "org/name", "--revision", "v1", "--to", "there", "--allow-pickle", "--force"]
    dry = run(*words, "--dry-run")
    assert dry.stdout.splitlines() == ["file\tbytes\tcached", "a\t1024\tyes", "b\t1\t"]
    assert "hf://org/name @ 01234567 (v1) · 2 files" in dry.stderr
    assert "1 cached" in dry.stderr
    assert asked[0] == (
        ("org/name",),
        {"revision": "v1", "folder": "there", "allow_pickle": True, "force": True, "dry_run": True, "announce": None},
    )
    assert dict(line.split("\t") for line in run(*words).stdout.splitlines())["folder"] == "/there"
    assert asked[1][1]["announce"] is pull.announce
    assert (pull._yes(True), pull._yes(False)) == ("yes", "no")
    one = SimpleNamespace(**{**vars(found), "files": files[:1], "revision": found.commit})
    assert "(" not in pull.in_words(one)  # type: ignore[arg-type]
    assert " 1 file," in pull.in_words(one)  # type: ignore[arg-type]
