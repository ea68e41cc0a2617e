"""`zoo train` over two gloo ranks is the run of one process. The ranks start once for all that is tried here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.training.ranks.cases import CASES, DP, LIMITS, TP, gap, job_of, run_of, weights_of, write_data
from zoo.errors import ZooError
from zoo.parallel.estimate import spread
from zoo.parallel.layout import Layout
from zoo.testing.apart import over_ranks
from zoo.training.running.beginning import train
from zoo.training.running.memory import needed
from zoo.training.running.state import STATE, STATES

pytestmark = [pytest.mark.slow, pytest.mark.long]

LONG = {"train": {"steps": 3, "ema": 0.5, "evaluate_every": 2, "patience": 9, "batch_size": 3}}
ADAPTED = {"source": "tiny", "lora": {"rank": 2, "targets": ["attention"], "dropout": 0.1}, "train": {"steps": 2}}
WAYS = {"dp": DP, "tp": TP}
HAS_PEFT = find_spec("peft") is not None
REFUSED = {
    "clip": ({"objective": {"name": "clip"}}, "objective=clip does not run over several ranks, and parallel.dp=2 are"),
    "stages": ({"stages": [{"train": {"steps": 1}}]}, "stages does not run over several ranks"),
    "compile": ({"train": {"compile": True}}, "train.compile does not run over several ranks"),
    "rows": ({"train": {"batch_size": 1}}, "train.batch_size=1 rows cannot be divided over parallel.dp=2 ranks"),
    "ema": ({"source": "tiny", "lora": {"rank": 2}, "train": {"ema": 0.5}}, "lora with train.ema or train.patience"),
    "dora": ({"source": "tiny", "lora": {"rank": 2, "kind": "dora"}}, "lora.kind=dora does not run"),
    "packed": ({"source": "tiny", "lora": {"rank": 2}, "quantize": "int8"}, "an adapter beside packed weights does"),
}  # fmt: skip


def long_job(folder: Path, name: str, **train_of: Any) -> Any:
    sections = {"train": {**LONG["train"], **train_of}, "data": {"validation": str(folder / "tokens.npy")}}
    return job_of(folder, name, sections)


def told_by(action: Callable[[], Any]) -> str:
    try:
        action()
    except ZooError as error:
        return str(error)
    return "nothing"


def on_ranks(rank: int, place: str) -> dict[str, Any]:
    """What is seen on one rank, by what is tried."""
    from torch.distributed.device_mesh import init_device_mesh

    folder = Path(place)
    mesh = {ways: init_device_mesh("cpu", ways, mesh_dim_names=("dp", "tp")) for ways in (DP, TP)}
    seen: dict[str, Any] = {name: as_one(folder, name, mesh[ways]) for name, (ways, _) in CASES.items()}
    for name, ways in WAYS.items():
        whole, _ = train(replace(long_job(folder, f"{name}.whole"), mesh=mesh[ways]))
        parted = replace(long_job(folder, f"{name}.parted", stop=1), mesh=mesh[ways])
        train(parted)
        if rank == 0:
            shutil.copytree(folder / f"{name}.parted", folder / f"{name}.stopped")
        run, _ = train(replace(long_job(folder, f"{name}.parted"), mesh=mesh[ways]), resume=True)
        states = [{n: s for n, s in run_state(r).items()} for r in (whole, run)]
        seen[f"{name} memory"] = memory_of(whole, Layout(**dict(zip(("dp", "tp"), ways, strict=True))))
        seen[f"{name} resumed"] = all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    if HAS_PEFT:
        for name, more in (("lora.whole", {}), ("lora.parted", {"stop": 1}), ("lora.parted", {})):
            sections = {**ADAPTED, "train": {**ADAPTED["train"], **more}}
            made = replace(job_of(folder, name, sections), mesh=mesh[DP])
            train(made, resume=name == "lora.parted" and not more)
    for begun, ways in (("dp.stopped", TP), ("one.stopped", DP)):
        told: list[str] = []
        run, _ = train(replace(long_job(folder, begun), mesh=mesh[ways]), resume=True, tell=told.append)
        seen[f"{begun} under another layout"] = gap(weights_of(run), torch.load(folder / "one.whole.pt")), told
    for name, (sections, _) in REFUSED.items():
        seen[name] = told_by(partial(refused, folder, sections, mesh[DP]))
    return seen


def memory_of(run: Any, layout: Layout) -> tuple[dict[str, int], dict[str, int], int]:
    """What a run over ranks is told to need, what `zoo show` says, and the bytes of weights that this rank holds."""
    from zoo.parallel.gathering import local

    model, recipe = run.trainee.model, replace(run.recipe, train=replace(run.recipe.train, ema=None))
    need = needed(model, recipe, 16, layout=layout)
    held = sum(local(p).nbytes for p in model.parameters())
    return vars(need), vars(spread(model.config.anatomy(), layout, 3, "float32")), held


def refused(folder: Path, sections: dict[str, Any], mesh: Any) -> None:
    train(replace(job_of(folder, "no", sections), mesh=mesh))


def as_one(folder: Path, name: str, mesh: Any) -> tuple[float, float]:
    """The largest gap to one process of a weight, and of a number that a record tells."""
    sections = CASES[name][1]
    given = dict(sections)
    if "tokenizer" in given:  # one that is learnt twice may be another
        given["tokenizer"] = {"source": str(folder / f"{name}.tokenizer")}
    run, records = run_of(replace(job_of(folder, name, given), mesh=mesh))
    expected, told = torch.load(folder / f"{name}.pt")
    return gap(weights_of(run), expected), max(abs(a[k] - b[k]) for a, b in zip(records, told, strict=True) for k in a)


def run_state(run: Any) -> dict[str, torch.Tensor]:
    """All that the next step depends on, whole."""
    from zoo.parallel.gathering import whole
    from zoo.training.running.state import state_of

    return {name: whole(value) for name, value in state_of(run.trainee).items()} | weights_of(run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_data(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of models this small more of them wait for each other
    try:
        write_expected(folder)
    finally:
        torch.set_num_threads(threads)
    return folder


def write_expected(folder: Path) -> None:
    """The runs of one process."""
    for name, (_, sections) in CASES.items():
        run, records = run_of(job_of(folder, name, sections))
        torch.save((weights_of(run), records), folder / f"{name}.pt")
        if "tokenizer" in sections:
            (folder / f"{name}.tokenizer").mkdir()
            for file, content in run.folder.files.items():
                (folder / f"{name}.tokenizer" / file).write_bytes(content)
    run, _ = train(long_job(folder, "one.whole"))
    torch.save(weights_of(run), folder / "one.whole.pt")
    train(long_job(folder, "one.stopped", stop=1))


@pytest.fixture(scope="module")
def seen(folder: Path) -> list[dict[str, Any]]:
    return over_ranks(on_ranks, str(folder))


def test_every_objective_rule_and_family_learns_as_in_one_process(seen: list[dict[str, Any]]) -> None:
    for of_rank in seen:
        for name in CASES:
            weights, told = of_rank[name]
            limits = LIMITS.get(name, (1e-12, 1e-12))  # of order 1; two steps of float64, whose sums have another order
            assert weights < limits[0], name
            assert told < limits[1], name


@pytest.mark.parametrize("way", WAYS)
def test_memory_is_told_of_a_ranks_share_as_zoo_show_has_it(seen: list[dict[str, Any]], way: str) -> None:
    """The job computes in float64, of which the estimate knows nothing: what it says of float32 is half of that."""
    for of_rank in seen:
        need, expected, held = of_rank[f"{way} memory"]
        assert need["gradients"] == held
        for name in ("weights", "gradients", "optimizer"):  # where rows are odd, the first rank has one more
            assert abs(need[name] / (2 * expected[name]) - 1) < 0.01, name


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_goes_on_is_bit_for_bit_one_that_never_stopped(
    seen: list[dict[str, Any]], folder: Path, way: str
) -> None:
    assert all(of_rank[f"{way} resumed"] for of_rank in seen)
    whole, parted = folder / f"{way}.whole", folder / f"{way}.parted"
    for name in ("model.safetensors", "config.json"):
        assert (whole / name).read_bytes() == (parted / name).read_bytes()
    assert losses(whole, 3) == losses(parted, 3)


@pytest.mark.skipif(not HAS_PEFT, reason="the extra adapters is not installed")
def test_an_adapter_beside_spread_weights_is_that_of_one_process(seen: list[dict[str, Any]], folder: Path) -> None:
    whole, parted = folder / "lora.whole", folder / "lora.parted"
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (whole / name).read_bytes() == (parted / name).read_bytes()
    assert losses(whole, 2) == losses(parted, 2)
    tokens = torch.arange(9)[None]
    model: Any = zoo.load("tiny", dtype="float64", adapter=whole)
    assert (model(tokens) - zoo.load("tiny", dtype="float64")(tokens)).abs().max() > 1e-4


def losses(run: Path, steps: int) -> list[tuple[float, float]]:
    """Of each step, with the norm of its gradient: a line for each, however many ranks there are."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in found] == [*range(1, steps + 1)]
    return [(record["loss"], record["grad_norm"]) for record in found]


@pytest.mark.parametrize("way", WAYS)
def test_the_folder_is_that_of_one_process(seen: list[dict[str, Any]], folder: Path, way: str) -> None:
    one, ranks = folder / "one.whole", folder / f"{way}.whole"
    names = [{file.name for file in run.iterdir()} - {STATE, STATES} for run in (one, ranks)]
    assert names[0] == names[1]
    assert (one / "config.json").read_bytes() == (ranks / "config.json").read_bytes()
    found = dict(zoo.load(ranks).named_parameters())
    assert gap(found, torch.load(folder / "one.whole.pt")) < 1e-12  # as above


def test_it_goes_on_under_another_layout_up_to_rounding_and_says_so(seen: list[dict[str, Any]], folder: Path) -> None:
    words = {
        "dp.stopped": "over parallel.tp=2 instead of parallel.dp=2",
        "one.stopped": "over parallel.dp=2 instead of one process",
    }
    for name, expected in words.items():
        found, told = seen[0][f"{name} under another layout"]
        assert found < 1e-12  # as above
        assert f"going on after step 1, {expected}: the same run up to rounding, not to the bit" in told
    told = []
    run, _ = train(long_job(folder, "tp.stopped"), resume=True, tell=told.append)
    assert gap(weights_of(run), torch.load(folder / "one.whole.pt")) < 1e-12
    assert any("over one process instead of parallel.tp=2" in line for line in told)


def test_what_one_process_alone_does_is_refused_by_name_on_every_rank(seen: list[dict[str, Any]], folder: Path) -> None:
    for of_rank in seen:
        for name, (_, words) in REFUSED.items():
            assert words in of_rank[name]
    assert not (folder / "no").exists()
