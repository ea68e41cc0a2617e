"""How a built module is cut over ranks: read off what its blocks declare, checked, then put into it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from zoo.anatomy.cuts import PARTED, SHARED, Cut, Share
from zoo.parallel.cutting import LOCAL, PART, SUMMED, WHOLE, Held, cut_module
from zoo.parallel.declared import CutWeight, cuts_of, names_of, needs_of, places_of, shares_of
from zoo.parallel.shares import bounds, check, is_whole
from zoo.parallel.sums import Ranks, SharedInput


@dataclass
class ShardingPlan:
    """The weights that are cut over some ranks, and the numbers of which a rank has a share."""

    ranks: Ranks
    model: nn.Module
    places: list[CutWeight] = field(default_factory=list)
    shares: dict[str, Share] = field(default_factory=dict)  # of each weight that is cut, by its first name
    numbers: dict[tuple[int, str], tuple[nn.Module, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, mesh: DeviceMesh) -> ShardingPlan:
        """The plan of a model on meta. Raises UsageError, with the sizes that work, for what cannot be cut."""
        plan = cls(Ranks(mesh), model, places_of(model))
        check(needs_of(model), plan.ranks.count, "tp")
        for place in plan.places:
            if place.cut.of is not None:
                plan.numbers[id(place.block), place.cut.of] = place.block, getattr(place.block, place.cut.of)
        shares = shares_of(model, plan.places)
        plan.shares = {name: share for name, share in shares.items() if not is_whole(share, plan.ranks.count)}
        return plan

    def part(self, name: str, tensor: Tensor) -> Tensor:
        """This rank's part of the weight `name`: rows are a view, columns a copy."""
        share = self.shares.get(name)
        if share is None or share.dim is None:
            return tensor
        first, last = bounds(tensor.shape[share.dim], self.ranks.count, self.ranks.number)
        part = tensor.narrow(share.dim, first, last - first)
        return part if share.dim == 0 else part.contiguous()

    def placed(self, name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A rank's part as the DTensor of the whole weight, which has this shape; what is whole is left as it is."""
        share = self.shares.get(name)
        if share is None or share.dim is None:
            return part
        steps = [1]
        for size in reversed(shape[1:]):
            steps.append(steps[-1] * size)
        local = part.contiguous()
        return DTensor.from_local(
            local,
            self.ranks.mesh,
            [Shard(share.dim)],
            run_check=False,
            shape=torch.Size(shape),
            stride=tuple(steps[::-1]),
        )

    def install(self) -> None:
        """Let the modules compute with their shares. Their weights must be in place."""
        for (_, name), (block, units) in self.numbers.items():
            setattr(block, name, max(1, units // self.ranks.count))
        for block in {id(p.block): p.block for p in self.places}.values():
            self._install_block(block)
        for block in self.model.modules():
            if (cuts := cuts_of(block)) and not any(p.block is block for p in self.places):
                self._cut_numbers(block, cuts)

    def _install_block(self, block: nn.Module) -> None:
        entry, ranks = SharedInput(self.ranks), self.ranks
        for name, way in (("enter", ranks.entered), ("leave", ranks.added)):
            if hasattr(type(block), name):
                setattr(block, name, way)
        mine = [place for place in self.places if place.block is block]
        for owner in {id(place.owner): place.owner for place in mine}.values():
            of_owner = [place for place in mine if place.owner is owner]
            ways = {place.name: self._way(place) for place in of_owner}
            entry_of = SharedInput(ranks) if owner is block else entry
            cut_module(owner, of_owner[0].cut.by, Held(ranks, ways, entry_of), is_part=owner is not block)

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
