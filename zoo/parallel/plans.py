"""Which plan a model is cut by: what loading and building ask of each of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from zoo.anatomy.records import Shape
from zoo.parallel.agreement import cut_over
from zoo.parallel.plan import WAYS, ShardingPlan
from zoo.parallel.sequence import SequencePlan
from zoo.parallel.shares import Need
from zoo.parallel.stages import StagePlan
from zoo.parallel.texts import TextPlan
from zoo.parallel.two_ways import CutExperts, StagesOfShares
from zoo.weights.table import Step


class RankPlan(Protocol):
    """What a rank has of a model, and how it computes with that."""

    def lighten(self) -> None:
        """Take out of the model, before anything is read, what this rank has nothing of."""
        ...

    def narrowed(self, step: Step) -> Step | None:
        """The step of a table as far as this rank needs it."""
        ...

    def check(self, needs: Iterable[Need]) -> None:
        """Raise UsageError, with the sizes that work, where what must stay whole leaves no equal shares."""
        ...

    def slices(self, name: str, shape: Shape) -> tuple[slice, ...]:
        """What this rank has of each dimension of a weight."""
        ...

    def placed(self, name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What stands in the model for a part of a weight of this shape."""
        ...

    def install(self) -> None:
        """Let the modules compute with what is in place."""
        ...


def part_of(plan: RankPlan, name: str, tensor: Tensor) -> Tensor:
    """A rank's part of a whole weight: rows are a view, columns a copy."""
    return tensor[plan.slices(name, tuple(tensor.shape))].contiguous()


def planned(model: nn.Module, mesh: DeviceMesh) -> RankPlan:
    """The plan of a model that a mesh cuts. Raises UsageError for one that cannot be cut so, with the reason."""
    plans = [of_way(model, way, ranks) for way, ranks in cut_over(mesh)]
    if len(plans) == 1:
        return plans[0]
    stages = [plan for plan in plans if isinstance(plan, StagePlan)]
    shares = [plan for plan in plans if isinstance(plan, ShardingPlan)]
    if stages:
        return StagesOfShares(stages[0], shares[0])
    both = mesh[tuple(name for name in mesh.mesh_dim_names or () if name in WAYS)]
    by_way = {plan.way: plan for plan in shares}
    return CutExperts(by_way["tp"], by_way["ep"], both)


def of_way(model: nn.Module, way: str, mesh: DeviceMesh) -> RankPlan:
    """The plan of one way, over a mesh of one dimension."""
    if way == "pp":
        return StagePlan.of(model, mesh)
    if way == "sp":
        return SequencePlan.of(model, mesh)
    return TextPlan.of(model, mesh) if way == "cp" else ShardingPlan.of(model, mesh, way)
