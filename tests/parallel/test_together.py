"""What all ranks do together or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import ZooError
from zoo.testing.apart import over_ranks

pytestmark = pytest.mark.slow

CASES = ("a rank without the file", "another config", "other weights", "a mesh of other ways", "heads", "quantize")


def attempt(rank: int, folder: str) -> list[Any]:
    """The first line of what each case is refused with on this rank, then the bytes and logits of what is built."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh

    mesh, other = (init_device_mesh("cpu", (2,), mesh_dim_names=(name,)) for name in ("tp", "xp"))
    good = f"{folder}/good"
    tries = {
        "a rank without the file": lambda: zoo.load(good if rank == 0 else f"{folder}/absent", mesh=mesh),
        "another config": lambda: zoo.load(good, *["model.norm_eps=1e-3"] * rank, mesh=mesh),
        "other weights": lambda: zoo.load(good if rank == 0 else f"{folder}/other", mesh=mesh),
        "a mesh of other ways": lambda: zoo.load(good, mesh=other),
        "heads": lambda: zoo.build(
            "llama3", "model.num_heads=9", "model.num_kv_heads=9", "model.num_layers=1", mesh=mesh
        ),
        "quantize": lambda: zoo.load(good, quantize="int4-128", mesh=mesh),
    }
    told = [refusal(attempt) for attempt in tries.values()]
    built = [zoo.build("tiny", device="cpu", mesh=one) for one in (mesh, None)]
    tokens = torch.arange(9)[None]
    dcp.save({"model": built[0].state_dict(), "step": rank}, checkpoint_id=f"{folder}/dcp")
    gap = (built[0](tokens) - built[1](tokens)).abs().max().item()
    return [told, [sum(p.to_local().nbytes for p in built[0].parameters() if hasattr(p, "to_local"))], gap]


def refusal(attempt: Any) -> str:
    try:
        attempt()
    except ZooError as error:
        return str(error)
    return "nothing"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def told(folder: Path) -> list[Any]:
    for name, seed in (("good", 0), ("other", 1)):
        zoo.save(zoo.build("tiny", device="cpu", seed=seed), folder / name)
    return over_ranks(attempt, str(folder))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("a rank without the file", "absent"),
        ("another config", "the checkpoint of rank 0 is not that of rank 1"),
        ("other weights", "the checkpoint of rank 0 is not that of rank 1"),
        ("a mesh of other ways", "a mesh of xp is not one that zoo loads over"),
        ("heads", "tp=2 cannot cut this model: num_heads has 9"),
        ("quantize", "tp=2 cannot cut this model: layers.0.attn.o_proj.weight in groups of 128 columns has 1"),
    ],
)
def test_what_goes_wrong_on_one_rank_is_told_on_each(told: list[Any], case: str, words: str) -> None:
    assert all(words in of_rank[0][CASES.index(case)] for of_rank in told), told


def test_the_same_seed_gives_the_weights_of_one_process(told: list[Any]) -> None:
    # float32 sums in another order: about 1e-6 of logits of order 1
    assert all(of_rank[2] < 1e-5 for of_rank in told)


@pytest.mark.usefixtures("told")
def test_what_ranks_stored_of_a_cut_model_is_read_whole(folder: Path) -> None:
    """Each rank wrote its rows, columns and tokens; nothing but the names and the config says whose they are."""
    assert len([*(folder / "dcp").glob("*.distcp")]) == 2
    read, one = zoo.load(folder / "dcp", "config=tiny"), zoo.build("tiny", device="cpu")
    expected = dict(one.named_parameters())
    assert all(torch.equal(p, expected[name]) for name, p in read.named_parameters())
    assert read.ledger.num_parameters == sum(p.numel() for p in expected.values())
