"""A benchmark becomes a job, and what it measured is told."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import zoo
from tests.cli.test_jobs import BENCH, BENCHED, FACTS, RATIOS, TINY, _in_hydra, composed, ran
from zoo.cli import benching
from zoo.errors import ConfigError, UsageError
from zoo.measurement.speed import benchmark

__all__ = ["_in_hydra", "ran"]  # fixtures


def run_one(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], *, is_json: bool = False) -> None:
    def run_once(command: str, words: Any, flags: Any, task: Any) -> Any:
        assert (command, words, flags, task) == ("bench", ["w"], ["f"], benching.benched)
        return facts

    monkeypatch.setattr(benching, "run_once", run_once)
    benching.one(["w"], ["f"], is_json=is_json)


def test_one_benchmark_is_told_with_its_rival_or_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_one(monkeypatch, FACTS)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "\tzoo"
    assert {"random", "9", "12.3k", "bfloat16", "11", "3", "5"} <= set(err.replace(",", " ").split())
    assert "same" not in err
    duel = {**FACTS, "is_random": False, "models": BENCHED[1]["models"], "ratios": RATIOS, "same_tokens": 0.125}
    run_one(monkeypatch, duel)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "\tzoo\ttransformers\tzoo / transformers"
    assert "random" not in err
    assert "12%" in err
    run_one(monkeypatch, duel, is_json=True)
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (duel, "")


def test_a_sweep_of_benchmarks_is_a_line_each(ran: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        benching.sweep(["w"], ["f"], is_json=False)
    assert left.value.code == 2
    assert ran == [("bench", ["w"], ["f"], "benched")]
    out, err = capsys.readouterr()
    header, *lines = [line.split("\t") for line in out.splitlines()]
    assert header[:2] == ["#", "prompt"]
    own = ["12345", "2000.0", "50.0", str(3 << 20), "4096"]
    assert lines == [["0", "8", *own, "", ""], ["1", "9", *own, "2.0", "0.5"], ["2", "0", *[""] * 7]]
    assert "3 jobs" in err
    assert "error: job 2: too few" in err
    with pytest.raises(SystemExit):
        benching.sweep([], [], is_json=True)
    assert json.loads(capsys.readouterr().out) == {"folder": "there", "jobs": BENCHED}


@pytest.fixture
def duelled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a benchmark was asked for."""
    asked: list[Any] = []

    def duel(name: str, job: Any, **options: Any) -> Any:
        asked.append((name, job, options))
        return SimpleNamespace(to_dict=lambda: {"model": name})

    monkeypatch.setattr(benchmark, "duel", duel)
    return asked


@pytest.mark.usefixtures("_in_hydra")
def test_keys_become_a_job_with_weights_or_a_config(duelled: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told = benching.benched(composed(keys=BENCH))
    ((name, made, options),) = duelled
    assert name == "mine"
    assert (made.source, made.options, made.config) == (None, None, TINY.to_dict())
    assert (made.prompt, made.new, made.batch, made.device, made.dtype, made.seed) == (5, 3, 2, "cpu", "bfloat16", 7)
    assert made.compile is True
    assert options == {"repeats": 4, "against": None, "tell": None}
    assert told == {"model": "mine", "seed": 7, "config": TINY.to_dict()}
    duelled.clear()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    told = benching.benched(composed(None, BENCH, source="./folder", against="transformers"))
    ((name, made, options),) = duelled
    assert (name, made.source, made.config, options["against"]) == ("./folder", "./folder", None, "transformers")
    assert options["tell"] is not None
    assert told["config"] is None
    with pytest.raises(UsageError, match=r"two models: \./folder and"):
        benching.benched(composed(keys=BENCH, source="./folder"))
    with pytest.raises(ConfigError, match="prompt='few' is not int"):
        benching.benched(composed(keys=BENCH, prompt="few"))


def test_a_benchmark_in_python_is_the_job_that_its_arguments_say(duelled: list[Any]) -> None:
    zoo.measurement.bench(
        "llama3",
        "model.num_layers=2",
        prompt=5,
        new=3,
        batch=2,
        repeats=4,
        dtype=torch.float16,
        seed=7,
        against="transformers",
    )
    zoo.measurement.bench("./folder", "model.tie_embeddings=true", device="meta")
    (preset, made, options), (folder, source, plain) = duelled
    assert (preset, made.source, made.config["num_layers"], made.dtype) == ("llama3", None, 2, "float16")
    assert (made.prompt, made.new, made.batch, made.device, made.seed) == (5, 3, 2, "cpu", 7)
    assert options == {"repeats": 4, "against": "transformers"}
    assert (folder, source.source, source.overrides, source.device) == (
        "./folder", "./folder", ("model.tie_embeddings=true",), "meta"
    )  # fmt: skip
    assert (source.config, source.dtype, source.prompt, source.new, source.batch) == (None, None, 128, 64, 1)
    assert plain == {"repeats": 5, "against": None}
