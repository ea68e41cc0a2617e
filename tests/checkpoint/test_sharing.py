"""What a rank reads of plain tensors: of a stack of experts its own matrices, whatever the table does within each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo.checkpoint.sharing import ShareReader
from zoo.registry import installed

EXPERTS, MINE = 4, slice(2, 4)


class OfExperts:
    """The plan of the second of two ranks that have experts, as far as a reader asks it."""

    def slices(self, name: str, shape: tuple[int, ...]) -> tuple[slice, ...]:
        first = MINE if ".experts." in name else slice(None)
        return (first, *[slice(None)] * (len(shape) - 1))


class Watched(Mapping[str, Any]):
    """Tensors that remember how many numbers of each were taken."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors, self.taken = tensors, dict[str, int]()

    def __getitem__(self, name: str) -> Any:
        return Taken(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


class Taken:
    """A tensor of which some is taken."""

    def __init__(self, of: Watched, name: str) -> None:
        self.of, self.name = of, name

    def __getitem__(self, index: slice) -> Tensor:
        found = self.of.tensors[self.name][index]
        self.of.taken[self.name] = found.numel()
        return found


@pytest.mark.parametrize("family", ["gpt_oss", "qwen3_vl_moe"])
def test_of_stacked_experts_a_rank_reads_its_own(family: str, tmp_path: Path) -> None:
    """gpt-oss: turned, and the rows of gate and up alternate; Qwen3-VL: turned, and one behind the other."""
    tiny: Any = installed()[family].config_class.tiny()
    folder = zoo.save(zoo.build(replace(tiny, num_experts=EXPERTS), device="cpu"), tmp_path / family)
    ledger, whole = zoo.inspect(folder), zoo.load(folder)
    with ledger.checkpoint.open() as tensors:
        watched, found = Watched(tensors), 0
        reader: Any = ShareReader(ledger, watched, OfExperts(), ())  # type: ignore[arg-type]
        for step in ledger.account.steps:
            if any(name.endswith(("experts.gate_proj", "experts.down_proj")) for name in step.ours):
                for name, part in zip(step.ours, reader.read(step, step), strict=True):
                    assert torch.equal(part, whole.get_parameter(name)[MINE])
                    found += 1
        assert found
        assert all(2 * taken == tensors[name].numel() for name, taken in watched.taken.items())
