"""A model cut within its layers and spread by FSDP2 at once, over four ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.registry import installed
from zoo.testing import Subject
from zoo.testing.apart import over_ranks
from zoo.testing.learning import loss, step

pytestmark = [pytest.mark.slow, pytest.mark.long]


def learn(rank: int, folder: str) -> float:
    """One step over 2 x 2 ranks against one process: the largest difference of a weight."""
    from torch.distributed.device_mesh import init_device_mesh

    from zoo.parallel.gathering import whole
    from zoo.parallel.sharding import shard

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    subject = Subject(installed()["qwen3"])
    texts, mine = subject.tokens(4, 12), mesh["dp"].get_local_rank()
    one, spread = zoo.load(f"{folder}/in"), zoo.load(f"{folder}/in", mesh=mesh)
    shard(spread, mesh)
    zoo.save(spread, f"{folder}/out")
    step(one, [loss(subject, one, texts[2 * i : 2 * i + 2]) / 2 for i in range(2)])
    step(spread, [loss(subject, spread, texts[2 * mine : 2 * mine + 2])])
    expected: dict[str, Any] = dict(one.named_parameters())
    with torch.no_grad():
        return max((whole(p) - expected[name]).abs().max().item() for name, p in spread.named_parameters())


def test_it_learns_as_one_process_and_saves_the_same_bytes(tmp_path: Path) -> None:
    subject = Subject(installed()["qwen3"])
    zoo.save(subject.model, tmp_path / "in")
    gaps = over_ranks(learn, str(tmp_path), count=4)
    assert max(gaps) < 1e-12  # a step of 0.1 in float64, whose sums have another order
    for file in (tmp_path / "in").glob("*.safetensors"):
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()
