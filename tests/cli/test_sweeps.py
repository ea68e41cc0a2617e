"""`-m` by each launcher: every combination in a process of its own, and all results in one table."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.breaking import run
from zoo.cli import main
from zoo.cli.sweeping import _alternatives

SHORT = "She had been in the garden all the morning, and had not seen him. " * 4


def needs(package: str) -> pytest.MarkDecorator:
    is_here = find_spec(package.partition(".")[0]) is not None and find_spec(package) is not None
    return pytest.mark.skipif(not is_here, reason=f"the extra sweep, for {package}, is not installed")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(SHORT)


def test_values_between_commas_are_alternatives() -> None:
    assert [*_alternatives("a,b")] == ["a", "b"]
    assert [*_alternatives("a model.x=1,2 rope=y")] == ["a model.x=1 rope=y", "a model.x=2 rope=y"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_slurm"])
def test_a_launcher_is_missed_where_no_plugin_of_hydra_is_installed(
    monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    """Then the package that would hold them is not there either, and looking into it raises."""
    monkeypatch.setitem(sys.modules, "hydra_plugins", None)
    words = ["build", "-m", "tiny", "model.num_layers=1,2", f"hydra/launcher={launcher}"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 3
    assert done.stderr.endswith("\npip install 'zoo-lm[sweep]'\n")


def test_compare_sweeps_over_models_and_what_is_in_their_quotes() -> None:
    done = run("compare", "-m", "llama3 model.num_kv_heads=1,2", "gpt2", "--json")
    jobs = json.loads(done.stdout)["jobs"]
    # keys and values: two matrices of one head of 128, 4096 wide, in 32 layers
    counts = [job["numbers"]["parameters 1"] for job in jobs]
    assert counts[1] - counts[0] == 2 * 128 * 4096 * 32
    assert [job["subjects"][1]["name"] for job in jobs] == ["gpt2", "gpt2"]


@pytest.mark.slow
@pytest.mark.long
@needs("hydra_plugins.hydra_joblib_launcher")
def test_eval_sweeps_by_joblib_with_the_numbers_of_single_runs() -> None:
    words = ("--text", "text.txt", "--window", "64", "--json")
    done = run(
        "eval", "-m", "tiny", "model.norm_eps=1e-5,1e-3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *words
    )
    jobs = json.loads(done.stdout)["jobs"]
    for job, value in zip(jobs, ("1e-5", "1e-3"), strict=True):
        alone = json.loads(run("eval", "tiny", f"model.norm_eps={value}", *words).stdout)
        assert job["texts"] == alone["texts"]
        assert job["numbers"]["perplexity"] == alone["texts"]["text.txt"]["perplexity"]
    assert jobs[0]["numbers"] != jobs[1]["numbers"]


@pytest.mark.slow
@pytest.mark.long
@needs("hydra_plugins.hydra_submitit_launcher")
def test_build_and_bench_sweep_by_submitits_local_executor(quick_jobs: None) -> None:
    launcher = "hydra/launcher=submitit_local"
    told = run("build", "-m", "tiny", "model.num_layers=1,2", launcher).stdout.splitlines()
    assert told[0].split("\t")[:3] == ["#", "model.num_layers", "params"]
    assert len(told) == 3
    assert len([*Path().glob("multirun/*/*/.submitit/*/*_result.pkl")]) == 2
    words = ("--prompt", "8", "--new", "2", "--repeats", "1", "--json")
    (job,) = json.loads(run("bench", "-m", "tiny", launcher, *words).stdout)["jobs"]
    assert job["models"][0]["parameters"] == 1_062_272


@needs("hydra_plugins.hydra_submitit_launcher")
@pytest.mark.slow
def test_slurm_that_is_not_there_is_told() -> None:
    done = run("build", "-m", "tiny", "hydra/launcher=submitit_slurm")
    assert done.exit_code == 2
    assert "srun" in done.stderr


@pytest.mark.parametrize("words", [("eval", "-m", "tiny", "parallel.tp=2"), ("compare", "-m", "tiny", "gpt2", "--md")])
def test_what_a_sweep_cannot_do_is_refused(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2
