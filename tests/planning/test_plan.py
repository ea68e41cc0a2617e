"""What a budget is best spent on: the laws against the figures that their papers state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from zoo.anatomy.size import Size
from zoo.cli import main
from zoo.errors import UsageError
from zoo.planning.cluster import Cluster, Parallelism
from zoo.planning.laws import LAWS, loss
from zoo.planning.page import page
from zoo.planning.record import plan
from zoo.presets import config


def law(name: str):
    return next(one for one in LAWS if one.name == name)


def test_llama_3_gets_its_own_figures_back() -> None:
    found = law("llama 3").optimum(3.8e25)  # arXiv:2407.21783, section 3.2.1
    assert found.parameters == pytest.approx(402e9, rel=0.01)
    assert found.tokens == pytest.approx(16.55e12, rel=0.01)
    assert plan(budget=3.8e25).model == "llama3.1-405b"


TABLE_3 = [  # arXiv:2203.15556: FLOPs, parameters and tokens of the first approach, to the digits that are printed
    (1.92e19, 400e6, 8.0e9), (1.21e20, 1e9, 20.2e9), (1.23e22, 10e9, 205.1e9), (5.76e23, 67e9, 1.5e12),
    (3.85e24, 175e9, 3.7e12), (9.90e24, 280e9, 5.9e12), (3.43e25, 520e9, 11.0e12), (1.27e26, 1e12, 21.2e12),
    (1.30e28, 10e12, 216.2e12),
]  # fmt: skip


@pytest.mark.parametrize(("budget", "parameters", "tokens"), TABLE_3)
def test_chinchilla_gets_its_table_back(budget: float, parameters: float, tokens: float) -> None:
    found = law("chinchilla 1").optimum(budget)
    assert found.parameters == pytest.approx(parameters, rel=0.05)  # the exponent has two digits, over seven decades
    assert found.tokens == pytest.approx(tokens, rel=0.06)


@pytest.mark.parametrize(
    ("name", "parameters"), [("chinchilla 1", 67e9), ("chinchilla 2", 63e9), ("chinchilla 3", 40e9)]
)
def test_each_approach_has_its_size_for_the_budget_of_gopher(name: str, parameters: float) -> None:
    found = law(name).optimum(5.76e23)
    assert found.parameters == pytest.approx(parameters)
    assert 6 * found.parameters * found.tokens == pytest.approx(5.76e23)


def test_the_loss_is_that_of_equation_10() -> None:
    assert loss(70e9, 1.4e12) == pytest.approx(1.69 + 406.4 / 70e9**0.34 + 410.7 / 1.4e12**0.28)


def test_machines_and_days_make_a_budget_and_a_budget_makes_days() -> None:
    cluster = Cluster(16384, peak=989e12, mfu=0.4)
    found = plan(cluster=cluster, days=54)
    assert found.budget == pytest.approx(16384 * 54 * 86400 * 989e12 * 0.4)
    assert plan(budget=found.budget, cluster=cluster).days == pytest.approx(54)


def test_memory_is_that_of_training_cut_over_the_machines() -> None:
    size = Size.of(config("llama3-8b"))
    whole = size.training_bytes(1, 2048)
    states = 16 * size.parameters  # bytes, as in ZeRO (arXiv:1910.02054)
    assert whole.weights + whole.gradients + whole.optimizer == states
    each = Parallelism(tensor=8, pipeline=2, is_sharded=False).bytes_each(size, 64, 2048)
    assert each == pytest.approx(states / 16 + size.recomputed_activations(1, 2048) / 8)
    sharded = Parallelism(tensor=8, pipeline=2).bytes_each(size, 64, 2048)
    assert sharded == pytest.approx(states / 64 + size.recomputed_activations(1, 2048) / 8)


WRONG = [
    ("", "a plan needs a budget"), ("FLOPS=x", "not a number above 0"), ("FLOPS=1", "not a budget"),
    ("FLOPS=1e22 FLOPS=2e22", "once"), ("FLOPS=1e22 gpu=3", "did you mean: gpus"), ("days=3", "days= needs gpus="),
    ("FLOPS=1e22 gpus=10 tensor=4", "does not divide gpus=10"), ("gpus=2.5 days=1", "not a whole number"),
    ("FLOPS=1e22 gpus=4 days=1", "two budgets"), ("FLOPS=1e22 tensor=4", "cuts a model over processors"),
    ("llama3 FLOPS=1e22", "a model: model=llama3"),
    ("gpus=8 days=3 mfu=40", "mfu=40"), ("FLOPS=1e22 model=lama3", "llama3"), ("FLOPS=nan", "not a number above 0"),
    ("gpus=8 days=3 sharded=yes", "neither true nor false"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_what_is_no_plan_is_refused(words: str, told: str) -> None:
    done = CliRunner().invoke(main, ["plan", *words.split()])
    assert done.exit_code == 2
    assert told in done.stderr


def test_the_command_tells_all_of_it(tmp_path: Path) -> None:
    words = ["plan", "gpus=16384", "days=54", "tensor=8", "pipeline=16"]
    told = CliRunner().invoke(main, words).stdout
    assert "llama3.1-405b" in told
    assert "54 days on 16,384" in told
    assert "128 copies" in told
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert [one["law"] for one in found["laws"]] == [one.name for one in LAWS]
    assert found["days"] == pytest.approx(54)
    drawn = page(plan(budget=1e22))
    assert "curves of equal FLOPs" in drawn
    assert "<script" not in drawn


def test_a_law_is_no_plan_without_a_budget() -> None:
    with pytest.raises(UsageError, match="two budgets"):
        plan(budget=1e22, cluster=Cluster(8), days=2)


def test_it_starts_without_torch() -> None:
    code = "import sys; from zoo.planning.page import page; from zoo.planning.record import plan\n"
    code += "page(plan(budget=1e22)); print({'torch', 'hydra', 'omegaconf', 'transformers'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
