"""A model over several ranks is the model of one process: what it computes, keeps, learns, and writes.

Everything is in float64, where sums in another order differ by about 1e-15 of numbers of order 1.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from zoo.anatomy.cuts import EXPERTS, Share
from zoo.models.construction import on_meta
from zoo.parallel.layout import CUTS
from zoo.testing.apart import SECONDS, over_ranks
from zoo.testing.check import Broken, Skipped, require, shown
from zoo.testing.cut import Expected, prove_cut, prove_plan
from zoo.testing.evened import evened
from zoo.testing.gathered import wholes
from zoo.testing.learning import apart, loss, step
from zoo.testing.measure import runnable
from zoo.testing.subject import Subject


def its_anatomy_is_cut_as_its_blocks_declare(s: Subject) -> str:
    """What `zoo show` says of a rank's bytes is what a rank allocates."""
    from zoo.parallel.declared import shares_of
    from zoo.parallel.shares import TENSOR, expert_share, tensor_share

    if s.anatomy is None:
        raise Skipped("it describes no anatomy, so its ranks are measured by building it")
    model, counts = on_meta(s.config), []
    for kinds, share_of in ((TENSOR, tensor_share), ((EXPERTS,), expert_share)):
        declared = shares_of(model, kinds=kinds)
        described = {name: share_of(w.shares) for w in s.anatomy.weights for name in w.names()}
        wrong = [
            f"{name} is cut by {_cut_words(share)} in the anatomy, by {_cut_words(declared.get(name))} in the module"
            for name, share in described.items()
            if _cut_words(share) != _cut_words(declared.get(name))
        ]
        require(not wrong, shown(wrong))
        counts.append(sum(share.dim is not None for share in declared.values()))
    return f"{counts[0]} of {len(described)} weights can be cut, {counts[1]} by experts"


def over_two_ranks_it_is_the_model_of_one_process(s: Subject) -> str:
    """Cut within its layers, and spread by FSDP2: what it computes, keeps, learns, and writes."""
    return told_over_ranks([s])[0]


def told_over_ranks(
    subjects: Iterable[Subject], count: int = 2, *, ways: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """What is proved of each, on one set of ranks. Raises Broken or Skipped for the first of whom it is not so.

    `ways` are those in which each family is cut, by its name; in others it is planned alone. None: in all.
    """
    with TemporaryDirectory() as place:
        jobs = [
            RanksJob.of(Subject(s.family, evened(runnable(s).config, count)), Path(place, s.family.name), count, of_one)
            for s in subjects
            for of_one in (CUTS if ways is None else ways[s.family.name],)
        ]
        told = over_ranks(_prove_all, jobs, count=count, seconds=SECONDS * (1 + len(jobs) // 10))
    for of_ranks in zip(*told, strict=True):
        for state, detail in of_ranks:
            if state != "ok":
                raise (Skipped if state == "skip" else Broken)(detail)
    return [detail for _, detail in told[0]]


@dataclass
class RanksJob:
    """What is proved of a family: in which ways it is cut, and what one process makes of it, worked out once."""

    s: Subject
    folder: Path
    ways: Collection[str]
    cut: Expected
    stepped: dict[str, Tensor]  # the weights after a step on as many batches as there are ranks

    @classmethod
    def of(cls, s: Subject, folder: Path, count: int, ways: Collection[str]) -> RanksJob:
        """All that one process makes of it."""
        one, texts = deepcopy(s.model), texts_of(s, count)
        step(one, [loss(s, one, batch) / count for batch in texts])
        stepped = {name: p.detach() for name, p in one.named_parameters()}
        return cls(s, folder, ways, Expected.of(s, folder / "cut"), stepped)


def texts_of(s: Subject, count: int) -> tuple[Tensor, ...]:
    """A batch [2, T] for each rank."""
    return s.tokens(2 * count, s.longest).split(2)


def _prove_all(rank: int, jobs: list[RanksJob]) -> list[tuple[str, str]]:
    """State and detail for each; a failure must come at the same place on both ranks, or one waits for the other."""
    from torch.distributed.device_mesh import init_device_mesh

    meshes = {way: init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=(way,)) for way in ("dp", *CUTS)}
    found = []
    for job in jobs:
        try:
            told = [*_prove_cuts(job, meshes), _prove_spread(job, meshes)]
            found.append(("ok", "; ".join(told)))
        except (Broken, Skipped) as error:
            found.append(("skip" if isinstance(error, Skipped) else "fail", f"{job.s.family.name}: {error}"))
    return found


def _prove_cuts(job: RanksJob, meshes: dict[str, Any]) -> Iterator[str]:
    """Of each way what is proved, or why the family is not cut in it."""
    planned = on_meta(job.s.config)
    for way in CUTS:
        yield prove_cut(job.cut, way, meshes[way]) if way in job.ways else prove_plan(planned, way, meshes[way])


def _prove_spread(job: RanksJob, meshes: dict[str, Any]) -> str:
    from torch.distributed.checkpoint import load as read
    from torch.distributed.checkpoint import save as write

    from zoo.parallel.building import distribute
    from zoo.parallel.sharding import shard

    s, mesh, folder = job.s, meshes["dp"], job.folder / "spread"
    other, spread = deepcopy(s.model), shard(deepcopy(s.model), mesh)
    step(spread, [loss(s, spread, texts_of(s, mesh.size())[mesh.get_rank()])])
    state = dict(spread.named_parameters())
    learned = wholes(state)
    faults = list(apart(job.stepped, learned))
    require(not faults, f"after one step {shown(faults)}")
    write(state, checkpoint_id=str(folder))
    distribute(other, meshes["tp"])
    held = dict(other.named_parameters())
    with torch.no_grad():
        read(held, checkpoint_id=str(folder))
    faults = list(apart(learned, wholes(held), limit=0.0))
    require(not faults, f"read again over other ranks {shown(faults)}")
    return "one step of FSDP2, read again by DCP under tensor parallelism"


def _cut_words(share: Share | None) -> str:
    return "nothing" if share is None or share.dim is None else f"{share.by} of {share.units or 'each'}"


PROPERTIES = (
    its_anatomy_is_cut_as_its_blocks_declare,
    over_two_ranks_it_is_the_model_of_one_process,
)
