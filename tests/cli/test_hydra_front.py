"""Hydra as a guest: results and errors come back, from whatever launcher, and the process is left as it was."""

from __future__ import annotations

import os
import sys

import pytest

from zoo.cli.hydra_front import run_once, run_sweep
from zoo.errors import UsageError


def seed(composed):
    return {"seed": composed.seed, "parameters": 7}


def fail(composed):
    raise UsageError("no", why="because")


def stumble(composed):
    return {"seed": composed.no_such_key}


def crash(composed):
    raise KeyError("a bug")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_job_runs_in_this_process_and_writes_nothing():
    assert run_once("build", ["seed=3"], [], seed) == {"seed": 3, "parameters": 7}
    assert os.listdir() == []


@pytest.mark.slow
@pytest.mark.parametrize(("job", "error"), [(fail, UsageError), (stumble, UsageError), (crash, KeyError)])
def test_a_jobs_error_comes_back_without_a_word_from_hydra(job, error, capfd):
    with pytest.raises(error):
        run_once("build", [], [], job)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_arguments_and_environment_are_put_back(monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = sys.argv
    run_once("build", [], [], seed)
    with pytest.raises(UsageError):
        run_once("build", ["model=no-such"], [], seed)
    assert sys.argv is before
    assert "HYDRA_FULL_ERROR" not in os.environ
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    run_once("build", [], [], seed)
    assert os.environ["HYDRA_FULL_ERROR"] == "0"


@pytest.mark.slow
def test_a_sweeps_results_come_in_order_from_files():
    folder, results = run_sweep("build", ["seed=3,1,2"], [], seed)
    assert [result["seed"] for result in results] == [3, 1, 2]
    assert results[1]["overrides"] == ["seed=1"]
    assert (folder / "1" / "result.json").is_file()


@pytest.mark.slow
def test_a_sweep_keeps_the_message_of_a_job_that_failed():
    _, results = run_sweep("build", ["seed=1,2"], [], fail)
    assert [(r["job"], r["error"], r["exit_code"]) for r in results] == [(0, "no\nbecause", 2), (1, "no\nbecause", 2)]


@pytest.mark.slow
def test_results_of_an_older_sweep_in_the_same_folder_are_not_mixed_in():
    run_sweep("build", ["seed=1,2", "hydra.sweep.dir='here/${now:%Y}'"], [], seed)
    for file in os.scandir(next(os.scandir("here")).path):
        if file.is_dir():
            os.utime(os.path.join(file.path, "result.json"), (0, 0))
    folder, results = run_sweep("build", ["seed=4", "hydra.sweep.dir='here/${now:%Y}'"], [], seed)
    assert folder.parent.name == "here"
    assert [result["seed"] for result in results] == [4]
