"""A model cut within its layers, or by its experts, and spread by FSDP2 at once, over four ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.training.ranks.cases import gap, weights_of
from tests.training.runs import job, token_file
from zoo.registry import installed
from zoo.testing import Subject
from zoo.testing.apart import over_ranks
from zoo.testing.learning import loss, step
from zoo.training.running.beginning import train

pytestmark = [pytest.mark.slow, pytest.mark.long]

WAYS = ("tp", "sp", "ep")  # beside dp


def subject(way: str) -> Subject:
    family = installed()["qwen3_moe" if way == "ep" else "qwen3"]
    tiny: Any = family.config_class.tiny()
    return Subject(family, replace(tiny, num_experts=4) if way == "ep" else tiny)


def learn(rank: int, folder: str) -> tuple[float, float, bool]:
    """One step over 2 x 2 ranks against one process, and a run: the largest difference of a weight of each.

    Then whether a run that was stopped went on to the bit.
    """
    from torch.distributed.device_mesh import init_device_mesh

    meshes = {way: init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", way)) for way in WAYS}
    gaps = [stepped(f"{folder}/{way}", way, mesh) for way, mesh in meshes.items()]
    return max(gaps), *trained(Path(folder, "sp"), meshes["sp"])


def stepped(folder: str, way: str, mesh: Any) -> float:
    from zoo.parallel.gathering import whole
    from zoo.parallel.sharding import shard

    s, mine = subject(way), mesh["dp"].get_local_rank()
    texts = s.tokens(4, 12)
    one, spread = zoo.load(f"{folder}/in"), zoo.load(f"{folder}/in", mesh=mesh)
    shard(spread, mesh)
    zoo.save(spread, f"{folder}/out")
    step(one, [loss(s, one, texts[2 * i : 2 * i + 2]) / 2 for i in range(2)])
    step(spread, [loss(s, spread, texts[2 * mine : 2 * mine + 2])])
    expected: dict[str, Any] = dict(one.named_parameters())
    with torch.no_grad():
        return max((whole(p) - expected[name]).abs().max().item() for name, p in spread.named_parameters())


def trained(folder: Path, mesh: Any) -> tuple[float, bool]:
    def run(name: str, *, resume: bool = False, **more: Any) -> dict[str, Any]:
        made = job(
            folder / name,
            folder / "tokens.npy",
            source=str(folder / "in"),
            train={"steps": 3, "recompute": True, **more},
        )
        found, _ = train(replace(made, mesh=mesh), resume=resume)
        return weights_of(found)

    unbroken, _ = run("whole"), run("parts", stop=1)
    again = run("parts", resume=True)
    is_same = all(torch.equal(value, unbroken[name]) for name, value in again.items())
    return gap(unbroken, dict(zoo.load(folder / "one").named_parameters())), is_same


def test_it_learns_as_one_process_and_saves_the_same_bytes(tmp_path: Path) -> None:
    for way in WAYS:
        zoo.save(subject(way).model, tmp_path / way / "in")
    folder = tmp_path / "sp"
    train(job(folder / "one", token_file(folder), source=str(folder / "in"), train={"steps": 3}))
    for steps, runs, is_same in over_ranks(learn, str(tmp_path), count=4):
        assert steps < 1e-12  # a step of 0.1 in float64, whose sums have another order
        assert runs < 1e-12  # three steps of 0.001
        assert is_same
    for file in tmp_path.glob("*/in/*.safetensors"):
        assert (file.parents[1] / "out" / file.name).read_bytes() == file.read_bytes()
