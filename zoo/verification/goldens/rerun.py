"""`zoo verify --golden`: every family's code on the numbers that its reference computed, without transformers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checkpoint.interpretation import table_for
from zoo.errors import CheckpointError, ZooError, some
from zoo.models.construction import assign, on_meta, shared_parameters
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.verification.divergence import gap
from zoo.verification.goldens.file import Golden, inputs_of, numbers, read_golden
from zoo.verification.inputs import Inputs
from zoo.verification.reference import zoo_side
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.table import foreign_shapes


@dataclass(frozen=True)
class Rerun:
    """How a golden came out: the largest difference, and the first layer beyond the limit if there is one."""

    golden: Golden
    gap: float
    first: str
    seconds: float
    fault: str = ""  # why it could not be run

    @property
    def passed(self) -> bool:
        return not self.fault and self.gap <= self.golden.limit

    def __str__(self) -> str:
        said = self.fault or f"|Δ| {self.gap:.1e}, limit {self.golden.limit:.0e}"
        since = f", first in {self.first}" if self.first and not self.passed else ""
        return f"{'ok  ' if self.passed else 'FAIL'}  {self.golden.name}: {said}{since} · {self.golden.reference}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "golden": self.golden.name, "family": self.golden.family, "passed": self.passed, "difference": self.gap,
            "limit": self.golden.limit, "first": self.first, "fault": self.fault, "reference": self.golden.reference,
        }  # fmt: skip


def goldens_of(family: Family) -> list[Golden]:
    """The goldens that lie beside a family's config class, by name."""
    return [
        golden for golden in map(read_golden, sorted(folder_of(family).glob("*.json"))) if golden.family == family.name
    ]


def folder_of(family: Family) -> Path:
    """Where a family's goldens are, or would be."""
    spec = find_spec(family.config.partition(":")[0])
    assert spec is not None
    assert spec.origin is not None
    config = Path(spec.origin)
    packages = list(config.parents)[: spec.name.count(".")]  # a family in a sub-folder shares its plugin's
    return next((f / "golden" for f in packages if (f / "golden").is_dir()), config.parent / "golden")


def rerun_goldens(names: Iterable[str] = ()) -> Iterator[Rerun]:
    """Run the goldens of the named families, or of all. Raises UnknownName for another name."""
    registry = installed()
    for family in [registry[name] for name in names or sorted(registry.families)]:
        yield from (rerun(golden) for golden in goldens_of(family))


def without_golden() -> list[str]:
    """The families that ship none."""
    return [name for name, family in sorted(installed().families.items()) if not goldens_of(family)]


@torch.no_grad()
def rerun(golden: Golden) -> Rerun:
    """Build the model in float64, run it and compare."""
    start = time.perf_counter()
    try:
        side = zoo_side(model := build_golden(golden), Inputs(inputs_of(golden), golden.name), golden.name)
        events = side.record(golden.layers)
    except ZooError as error:
        return Rerun(golden, float("inf"), "", time.perf_counter() - start, error.what)
    del model
    gaps = {name: _apart(events[name, "out"].flatten(0, -2)[-1], row) for name, row in golden.layers.items()}
    for name, kept in golden.expected.items():
        found = events.get((name, "output"))
        rows = None if found is None else found.reshape(-1, found.shape[-1])[kept["rows"]]
        gaps[name] = float("inf") if rows is None else _apart(rows, kept["values"])
    first = next((name for name, worst in gaps.items() if worst > golden.limit), "")
    return Rerun(golden, max(gaps.values()), first, time.perf_counter() - start)


def build_golden(golden: Golden) -> nn.Module:
    """The model in float64. Raises CheckpointError where its config or weights do not fit the family."""
    family = installed()[golden.family]
    keys = ForeignConfig(golden.config, golden.file)
    config = family.dialect("hf").from_config(keys)
    keys.check(where=family.name)
    model = on_meta(config, dtype="float64")
    names = {group[0]: group for group, _ in shared_parameters(model)}
    shapes = {name: tuple(model.get_parameter(name).shape) for name in names}
    stored = _stored(golden)
    for step in table_for(family, "hf", config).plan(shapes, stored or None)[0]:
        theirs = [stored.get(n, numbers(n, shape)).double() for n, shape in foreign_shapes(step, shapes).items()]
        for name, tensor in zip(step.ours, step.op.load(theirs), strict=True):
            assign(model, names[name], tensor.contiguous())
    if left := [name for name in names if model.get_parameter(name).is_meta]:
        raise CheckpointError(golden.file, some(left), "no rule of the table produces them")
    return model.eval()


def _stored(golden: Golden) -> dict[str, Tensor]:
    if golden.weights is None:
        return {}
    from safetensors.torch import load_file

    return load_file(golden.file.parent / Path(golden.weights).name)


def _apart(found: Tensor, values: list[Any]) -> float:
    worst = gap(found, torch.tensor(values, dtype=torch.float64))
    return float("inf") if worst is None else worst
