"""Many tensors made whole at once are what each is by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.testing.apart import over_ranks
from zoo.testing.gathered import wholes

RANKS = 3
CUT = {"even": ((6, 2), 0), "odd": ((7, 3), 0), "behind": ((2, 4, 5), 2), "too few": ((2, 3), 0), "one": ((4,), 0)}


def tensor(name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    shape = CUT[name][0]
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(name)), dtype=torch.float64).to(dtype)


def observed(rank: int) -> list[str]:
    """What is not whole."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (RANKS,))
    given: dict[str, Any] = {}
    for name, (_, dim) in CUT.items():
        for dtype in (torch.float64, torch.bfloat16):
            given[f"{name} {dtype}"] = distribute_tensor(tensor(name, dtype), mesh, [Shard(dim)])
    given |= {"copies": distribute_tensor(tensor("odd"), mesh, [Replicate()]), "plain": tensor("even")}
    expected = {f"{name} {dtype}": tensor(name, dtype) for name in CUT for dtype in (torch.float64, torch.bfloat16)}
    expected |= {"copies": tensor("odd"), "plain": tensor("even")}
    found = wholes(given)
    one_by_one = {name: t.full_tensor() if hasattr(t, "full_tensor") else t for name, t in given.items()}
    wrong = [name for name, t in expected.items() if not torch.equal(found[name], t)]
    return wrong + [name for name, t in one_by_one.items() if not torch.equal(found[name], t)]


@pytest.mark.slow
def test_tensors_that_are_gathered_at_once_are_whole() -> None:
    assert over_ranks(observed, count=RANKS) == [[]] * RANKS
