"""How a built module is cut over ranks: read off what its blocks declare, checked, then put into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard

from zoo.anatomy.cuts import EXPERTS, PARTED, SHARED, Cut, Share
from zoo.anatomy.records import Shape
from zoo.errors import UsageError
from zoo.parallel.cutting import LOCAL, PART, SUMMED, WHOLE, Held, cut_module
from zoo.parallel.declared import CutWeight, cuts_of, names_of, needs_of, places_of, shares_of
from zoo.parallel.experts import part_experts
from zoo.parallel.packed import cut_packed, left_of, packed_part
from zoo.parallel.shares import TENSOR, Need, bounds, check, is_whole
from zoo.parallel.sums import Ranks, SharedInput
from zoo.weights.table import Step

WAYS = {"tp": TENSOR, "ep": (EXPERTS,)}  # what is cut in which way


@dataclass
class ShardingPlan:
    """The weights that are cut over some ranks in one way, and the numbers of which a rank has a share."""

    ranks: Ranks
    model: nn.Module
    way: str = "tp"  # or ep
    places: list[CutWeight] = field(default_factory=list)
    shares: dict[str, Share] = field(default_factory=dict)  # of each weight that is cut, by its first name
    numbers: dict[tuple[int, str], tuple[nn.Module, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, mesh: DeviceMesh, way: str = "tp") -> ShardingPlan:
        """The plan of a model on meta. Raises UsageError, with the sizes that work, for what cannot be cut."""
        kinds = WAYS[way]
        plan = cls(Ranks(mesh), model, way, places_of(model, kinds))
        if way == "ep" and not plan.places:
            raise UsageError(f"ep={plan.ranks.count}: the model has no experts")
        check(needs_of(model, kinds), plan.ranks.count, way)
        for place in plan.places:
            if place.cut.of is not None:
                plan.numbers[id(place.block), place.cut.of] = place.block, getattr(place.block, place.cut.of)
        shares = shares_of(model, plan.places, kinds)
        plan.shares = {name: share for name, share in shares.items() if not is_whole(share, plan.ranks.count)}
        return plan

    def lighten(self) -> None:
        """Every rank has something of all."""

    def check(self, needs: Iterable[Need]) -> None:
        """Refuse borders that the shares of all ranks cannot keep."""
        if needs := list(needs):
            check([*needs_of(self.model, WAYS[self.way]), *needs], self.ranks.count, self.way)

    def slices(self, name: str, shape: Shape) -> tuple[slice, ...]:
        """What this rank has of each dimension of the weight `name`."""
        found, share = [slice(None)] * len(shape), self.shares.get(name)
        if share is not None and share.dim is not None:
            found[share.dim] = slice(*bounds(shape[share.dim], self.ranks.count, self.ranks.number))
        return tuple(found)

    def narrowed(self, step: Step) -> Step:
        """The step with this rank's experts alone, where each lies in a tensor of its own."""
        share = self.shares.get(step.ours[0])
        if share is None or share.by != EXPERTS or step.op.of_some is None:
            return step
        first, last = bounds(len(step.theirs), self.ranks.count, self.ranks.number)
        return Step(step.ours, step.theirs[first:last], step.op.of_some(last - first))

    def dim_of(self, name: str) -> int | None:
        """Along which of its dimensions a weight is cut."""
        return None if (share := self.shares.get(name)) is None else share.dim

    def placed(self, name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A rank's part as the DTensor of the whole weight, which has this shape; what is whole is left as it is."""
        dim = self.dim_of(name)
        return part if dim is None else placed(part, self.ranks.mesh, [dim], shape)

    def install(self, meshes: Sequence[DeviceMesh] = ()) -> None:
        """Let the modules compute with their shares. Their weights must be in place, over this mesh or `meshes`."""
        there = {id(module) for module in self.model.modules()}  # of a stage some
        meshes = meshes or (self.ranks.mesh,)
        for (_, name), (block, units) in self.numbers.items():
            setattr(block, name, max(1, units // self.ranks.count))
        for block in {id(p.block): p.block for p in self.places if id(p.block) in there}.values():
            (self._install_experts if self.way == "ep" else self._install_block)(block, meshes)
        for block in self.model.modules():
            if (cuts := cuts_of(block, WAYS[self.way])) and not any(p.block is block for p in self.places):
                self._cut_numbers(block, cuts)

    def _install_experts(self, block: nn.Module, meshes: Sequence[DeviceMesh]) -> None:
        mine = [place for place in self.places if place.block is block]
        ways = left_of({place.name: (LOCAL, None) for place in mine}, block)
        held = Held(self.ranks, ways, SharedInput(self.ranks), meshes)
        assert mine[0].share.units is not None
        part_experts(block, held, mine[0].share.units)

    def _install_block(self, block: nn.Module, meshes: Sequence[DeviceMesh]) -> None:
        entry, ranks = SharedInput(self.ranks), self.ranks
        for name, way in (("enter", ranks.entered), ("leave", ranks.added)):
            if hasattr(type(block), name):
                setattr(block, name, way)
        mine = [place for place in self.places if place.block is block]
        for owner in {id(place.owner): place.owner for place in mine}.values():
            of_owner = [place for place in mine if place.owner is owner]
            ways = {place.name: self._way(place) for place in of_owner}
            first, is_part = of_owner[0], owner is not block
            held = Held(ranks, ways, entry if is_part else SharedInput(ranks), meshes)
            if is_part and (packed := packed_part(block, first.cut.part)):
                cut_packed(packed, first.cut.by, held, tuple(owner.get_parameter("weight").shape))
                continue
            held.ways = ways if is_part else left_of(ways, owner)
            cut_module(owner, first.cut.by, held, is_part=is_part)

    def _way(self, place: CutWeight) -> tuple[str, slice | None]:
        """How a weight is read by its module."""
        share, count = place.share, self.ranks.count
        if share.by in (SHARED, PARTED):
            return (SUMMED if share.by == SHARED else PART), None
        if share.dim is None:
            return WHOLE, None
        if not is_whole(share, count):
            return LOCAL, None
        assert share.units is not None
        parameter = place.owner._parameters[place.name]
        assert parameter is not None
        each = parameter.shape[0] // share.units  # one unit of all, which as many ranks use as there are to a unit
        unit = self.ranks.number * share.units // count
        return SUMMED, slice(unit * each, (unit + 1) * each)

    def _cut_numbers(self, block: nn.Module, cuts: tuple[Cut, ...]) -> None:
        """A list with a number for each head, which is no weight."""
        for cut in cuts:
            if isinstance(values := getattr(block, cut.part, None), list):
                first, last = bounds(len(values), self.ranks.count, self.ranks.number)
                setattr(block, cut.part, values[first:last])

    def __str__(self) -> str:
        names = list(names_of(self.model))
        cut = len(self.shares)
        return f"rank {self.ranks.number} of {self.ranks.count}: {cut} weights are cut, {len(names) - cut} are whole"


def placed(part: Tensor, mesh: DeviceMesh, dims: Sequence[int | None], shape: tuple[int, ...]) -> DTensor:
    """A rank's part of a weight of this shape, cut along a dimension by each of the mesh's, as a DTensor."""
    steps = [1]
    for size in reversed(shape[1:]):
        steps.append(steps[-1] * size)
    places = [Replicate() if dim is None else Shard(dim) for dim in dims]
    return DTensor.from_local(
        part.contiguous(), mesh, places, run_check=False, shape=torch.Size(shape), stride=tuple(steps[::-1])
    )
