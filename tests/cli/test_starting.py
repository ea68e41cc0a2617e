"""What the options of `zoo build` and `zoo bench` start, and that the process is put back as it was."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from omegaconf import OmegaConf

from zoo.cli import benching, building, hydra_front, main
from zoo.errors import UsageError


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the commands hand on."""
    asked: list[Any] = []
    for module, name in ((building, "one"), (building, "sweep"), (benching, "one"), (benching, "sweep")):
        where = f"{module.__name__.rpartition('.')[2]}.{name}"
        monkeypatch.setattr(
            module, name, lambda words, flags, *, is_json, where=where: asked.append((where, words, flags, is_json))
        )
    monkeypatch.setattr(
        hydra_front, "run_once", lambda command, words, flags, job: asked.append((command, words, flags, job.__name__))
    )
    monkeypatch.setattr(hydra_front, "show", lambda *given: asked.append(("show", *given)))
    return asked


def run(*words: str) -> Result:
    done = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done


def test_options_of_bench_are_keys(called: list[Any], tmp_path: Path) -> None:
    run("bench", "llama3", "--prompt", "4", "--against", "transformers", "seed=3")
    run("bench", "-m", "llama3", "prompt=1,2", "--json")
    run("bench", "llama3", "+model.hidden_size=8")
    run("bench", "llama3", "-cd", str(tmp_path), "--trust-config-dir")
    one, sweep, check, added, trusted = called
    assert one[0] == "benching.one"
    assert {"prompt=4", "against=transformers", "seed=3"} < set(one[1])
    assert one[2:] == ([], False)
    assert (sweep[0], sweep[3]) == ("benching.sweep", True)
    assert "prompt=1,2" in sweep[1]
    assert check[0] == "bench"
    assert check[3] == "check"
    assert "+model.hidden_size=8" in check[1]
    assert added[:2] == ("benching.one", check[1])
    assert trusted[2] == [f"--config-dir={tmp_path}"]


def test_options_of_build_decide_what_is_done(called: list[Any], tmp_path: Path) -> None:
    run("build", "llama3", "--json")
    run("build", "-m", "llama3", "seed=1,2", "-cd", str(tmp_path), "--trust-config-dir")
    run("build", "llama3", "--cfg", "job", "-p", "model.rope", "--resolve")
    run("build", "llama3", "+model.hidden_size=8", "--cfg", "all")
    run("build", "llama3", "+model.hidden_size=8", "--info", "searchpath")
    run("build", "--info", "llama3")
    one, sweep, cfg, check, added, info, bare = called
    assert (one[0], one[3]) == ("building.one", True)
    assert (sweep[0], sweep[3]) == ("building.sweep", False)
    assert sweep[2] == [f"--config-dir={tmp_path}"]
    assert cfg[:2] == ("show", "build")
    assert cfg[3] == ["--cfg=job", "--package=model.rope", "--resolve"]
    assert (check[0], check[3]) == ("build", "check")
    assert (added[0], added[3]) == ("show", ["--cfg=all"])
    assert info[3] == ["--info=searchpath"]
    assert bare[3] == ["--info=all"]
    assert any("llama3" in word for word in bare[2])


def test_trust_needs_a_folder() -> None:
    done = CliRunner().invoke(main, ["build", "llama3", "--trust-config-dir"])
    assert done.exit_code == 2
    assert "--trust-config-dir needs a folder" in done.stderr


def test_a_sweep_goes_where_it_is_sent_or_to_its_day() -> None:
    day = datetime.now().strftime("%Y")
    folder, extra = hydra_front._folder(["model=a"])
    assert folder.parts[0] == "multirun"
    assert folder.parts[1].startswith(day)
    assert extra == ["hydra.output_subdir=.hydra", f"hydra.sweep.dir='{folder}'"]
    given = ["hydra.sweep.dir=first", "hydra.sweep.dir='to/${now:%Y}'", "hydra.output_subdir=null"]
    assert hydra_front._folder(given) == (Path("to") / day, [])
    assert hydra_front._folder(given[:2]) == (Path("to") / day, ["hydra.output_subdir=.hydra"])


@pytest.mark.parametrize("before", [None, "0"])
def test_the_process_is_put_back_as_it_was(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if before is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", before)
    argv = sys.argv

    def fail() -> None:
        with hydra_front._process(["zoo build", "x"]):
            assert (sys.argv, os.environ["HYDRA_FULL_ERROR"]) == (["zoo build", "x"], "1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert sys.argv is argv
    assert os.environ.get("HYDRA_FULL_ERROR") == before


def test_help_strings_are_not_checked_while_hydra_declares_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As argparse of Python 3.14 does: hydra-core 1.3 declares an option whose help is no string."""
    check = object()
    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check, raising=False)
    monkeypatch.setattr(hydra_front, "VERSION_BASE", {"version_base": "1.3"})
    with hydra_front._any_help():
        assert argparse.ArgumentParser._check_help is not check  # type: ignore[attr-defined]
    assert argparse.ArgumentParser._check_help is check  # type: ignore[attr-defined]
    monkeypatch.setattr(hydra_front, "VERSION_BASE", {})
    with hydra_front._any_help():
        assert argparse.ArgumentParser._check_help is check  # type: ignore[attr-defined]


def test_a_job_and_a_sweep_are_started_with_their_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hydra itself is stood in for by the tasks that it would run."""
    monkeypatch.chdir(tmp_path)
    started: list[Any] = []

    def start(command: str, task: Any, arguments: list[str]) -> None:
        started.append((command, arguments))
        for number in (1, 0) if "--multirun" in arguments else (0,):
            folder = Path("to") / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            overrides = SimpleNamespace(task=[f"seed={number}"])
            state = SimpleNamespace(
                job=SimpleNamespace(num=number), overrides=overrides, runtime=SimpleNamespace(output_dir=folder)
            )
            monkeypatch.setattr(hydra_front.HydraConfig, "get", lambda state=state: state)
            values.append(task(OmegaConf.create({"seed": number})))

    values: list[Any] = []
    monkeypatch.setattr(hydra_front, "_start", start)
    assert hydra_front.run_once("build", ["w"], ["f"], lambda c: {"seed": c.seed}) == {"seed": 0}

    def work(c: Any) -> dict[str, Any]:
        if c.seed:
            raise UsageError("no", why="because")
        return {"parameters": 7}

    (tmp_path / "to" / "old").mkdir(parents=True)
    (tmp_path / "to" / "old" / "result.json").write_text("{}")
    os.utime(tmp_path / "to" / "old" / "result.json", (0, 0))
    folder, found = hydra_front.run_sweep("bench", ["hydra.sweep.dir=to"], ["f"], work)
    assert folder == Path("to")
    assert found == [
        {"job": 0, "overrides": ["seed=0"], "parameters": 7},
        {"job": 1, "overrides": ["seed=1"], "error": "no\nbecause", "exit_code": 2},
    ]
    assert values[2] == 7.0
    assert values[1] != values[1]  # NaN: what failed has no size
    hydra_front.show("build", ["w"], ["f"])
    assert started[0] == ("build", ["f", "w"])
    assert started[1] == ("bench", ["--multirun", "f", "hydra.output_subdir=.hydra", "hydra.sweep.dir=to"])
    assert started[2] == ("build", ["f", "w"])
    with pytest.raises(KeyError):
        hydra_front.run_once("build", [], [], lambda c: {"seed": {}["none"]})
