"""An adapter taken into the weights on the way to a folder: one weight at a time, and what rounding loses is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.adapters.factors import Factors, translated
from zoo.adapters.fit.settled import AdapterFit
from zoo.adapters.whole import check_copies, refuse_shared, replaced, steps_with_whole
from zoo.checkpoint.export_plan import ExportPlan, reader
from zoo.checkpoint.loading import cast
from zoo.checkpoint.saving import exported
from zoo.errors import CheckpointError
from zoo.models.construction import on_meta, shared_parameters

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger
    from zoo.files.safetensors_writer import TensorSpec


@dataclass
class Merging:
    """Reads our weights with the adapter in them; `read` is what reads them without."""

    ledger: Ledger
    fit: AdapterFit
    read: Callable[[str], Tensor]
    specs: Mapping[str, TensorSpec]
    factors: dict[str, Factors] = field(init=False)
    lost: float = 0.0  # squares of what rounding changed, and of what the adapter adds
    added: float = 0.0
    changed: int = 0

    def __enter__(self) -> Merging:
        self.stack = ExitStack()
        self.tensors = self.stack.enter_context(self.fit.adapter.open())
        check_copies(self.fit, self.tensors)
        self.factors = translated(self.fit, self.tensors)
        self.whole = {name: step for step in steps_with_whole(self.fit) for name in step.ours}
        tied = {group[0] for group, _ in shared_parameters(on_meta(self.ledger.config)) if len(group) > 1}
        if bad := sorted(tied & set(self.factors)):
            what = f"{bad[0]} is tied to another weight of the base, which would change with it"
            hint = "keep the adapter beside the model: zoo generate BASE --adapter FOLDER"
            raise CheckpointError(self.fit.adapter.path, "", what, hint=hint)
        self.tied = tied
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def __call__(self, name: str) -> Tensor:
        """One of our weights, of the type in which it is written. Raises CheckpointError where the sum overflows it."""
        weight, dtype = self.read(name), getattr(torch, self.specs[name][0])
        if (step := self.whole.get(name)) is not None:
            before = [self.read(ours).to(torch.promote_types(weight.dtype, dtype)) for ours in step.ours]
            weight = replaced(self.fit, step, before, self.tensors)[step.ours.index(name)]
            refuse_shared(self.fit, name, name in self.tied and not torch.equal(weight, before[step.ours.index(name)]))
        if (factors := self.factors.get(name)) is None:
            return cast(self.ledger, name, weight, dtype)
        wide = weight.to(torch.promote_types(torch.promote_types(weight.dtype, dtype), torch.float32))
        total = factors.added(wide)
        out = cast(self.ledger, name, total, dtype)
        self.added += (total - wide).square().sum(dtype=torch.float64).item()
        self.lost += (out.to(total.dtype) - total).square().sum(dtype=torch.float64).item()
        self.changed += 1
        return out

    def note(self) -> str:
        """What was done, and what was lost, in a sentence."""
        share = (self.lost / self.added) ** 0.5 if self.added else 0.0
        settings = self.fit.adapter.settings
        told = f"merged {self.fit.adapter.path}: {settings.words} of rank {settings.rank} into {self.changed} weights"
        return f"{told}; rounding them changed {share:.2%} as much as the adapter does"


@contextmanager
def merged_tensors(plan: ExportPlan, fit: AdapterFit) -> Iterator[tuple[Iterator[tuple[str, Tensor]], Merging]]:
    """The tensors of a plan to be written, the adapter in them, and what counts its merging."""
    with plan.opened() as held, Merging(plan.ledger, fit, reader(plan.ledger, held, None), plan.ours) as merging:
        yield exported(plan.steps, merging), merging
