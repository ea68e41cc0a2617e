"""A model that is cut in two ways at once: its stages within their layers, or its experts both by rank and within."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from zoo.anatomy.records import Shape
from zoo.parallel.plan import ShardingPlan, placed
from zoo.parallel.shares import Need
from zoo.parallel.stages import StagePlan
from zoo.weights.table import Step


@dataclass
class StagesOfShares:
    """Stages by `pp`, of whose weights a rank has its share by `tp` or `ep`; the ranks of one share hand states on."""

    stages: StagePlan
    shares: ShardingPlan

    def lighten(self) -> None:
        """Take out of the model what other stages have."""
        self.stages.lighten()

    def narrowed(self, step: Step) -> Step | None:
        """The step, where this stage needs it, with this rank's experts."""
        mine = self.stages.narrowed(step)
        return None if mine is None else self.shares.narrowed(mine)

    def check(self, needs: Iterable[Need]) -> None:
        """Refuse borders that the shares cannot keep."""
        self.shares.check(needs)

    def slices(self, name: str, shape: Shape) -> tuple[slice, ...]:
        """What the rank's share is; of which weights, the stage says."""
        return self.shares.slices(name, shape)

    def placed(self, name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A DTensor over the ranks of this stage."""
        return self.shares.placed(name, part, shape)

    def install(self) -> None:
        """Let layers compute with their shares, then the stages in turns."""
        self.shares.install()
        self.stages.install()

    def __str__(self) -> str:
        return f"{self.stages}; {self.shares}"


@dataclass
class CutExperts:
    """Experts by rank, and within, as all else is; a stack of them is a DTensor over the ranks of both ways."""

    within: ShardingPlan  # tp
    by_rank: ShardingPlan  # ep
    both: DeviceMesh  # of the ranks of tp and ep

    def lighten(self) -> None:
        """Every rank has something of all."""

    def narrowed(self, step: Step) -> Step:
        """The step with this rank's experts alone, where each lies in a tensor of its own."""
        return self.by_rank.narrowed(step)

    def check(self, needs: Iterable[Need]) -> None:
        """Refuse borders that the shares cannot keep."""
        self.within.check(needs)

    def slices(self, name: str, shape: Shape) -> tuple[slice, ...]:
        """Some of the experts, and of each of these a share."""
        both = zip(self.within.slices(name, shape), self.by_rank.slices(name, shape), strict=True)
        return tuple(a if b == slice(None) else b for a, b in both)

    def placed(self, name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A DTensor over the ranks of one way, or of both."""
        dims = {plan.way: plan.dim_of(name) for plan in (self.within, self.by_rank)}
        if None in dims.values():
            return (self.by_rank if dims["tp"] is None else self.within).placed(name, part, shape)
        return placed(part, self.both, [dims[way] for way in self.both.mesh_dim_names or ()], shape)

    def install(self) -> None:
        """Let experts compute within themselves what those are given that this rank has."""
        meshes = (self.within.ranks.mesh, self.by_rank.ranks.mesh, self.both)
        self.within.install(meshes)
        self.by_rank.install(meshes)

    def __str__(self) -> str:
        return f"{self.within}; {self.by_rank}"
