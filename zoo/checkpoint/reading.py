"""The weights of a checkpoint as ours, one step of the table after the other: whole, or a rank's share of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.keeping import Keeper
from zoo.checkpoint.sharing import ShareReader
from zoo.files.copied import copied
from zoo.models.rounding import Rounder

if TYPE_CHECKING:
    from zoo.parallel.plans import RankPlan

SMALL = 1 << 20  # bytes of a tensor that is cheaper to copy than to map


def converted(
    ledger: Ledger,
    tensors: Mapping[str, Tensor],
    keeper: Keeper | None = None,
    rounder: Rounder | None = None,
    plan: RankPlan | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Our tensors, or a rank's share of each, one step of the table after the other, but what the `keeper` took.

    Of those that the `rounder` changes nothing stays mapped, nor of small ones beside them: a page that is read brings
    in its neighbours, which of a vector were measured at 2 MiB.
    """
    changed = rounder.names if rounder else ()
    actual, checkpoint = ledger.account.actual, ledger.checkpoint
    infos = {} if checkpoint.packing else checkpoint.tensors
    reader = None if plan is None else ShareReader(ledger, tensors, plan, rounder.wide if rounder else ())
    for step in ledger.account.steps:
        mine = step if plan is None else plan.narrowed(step)
        if mine is None or (keeper is not None and keeper.keeps(step)):
            continue
        if reader is not None:
            yield from zip(step.ours, reader.read(step, mine), strict=True)
            continue
        names = [actual[name] for name in step.theirs]
        is_small = bool(changed) and sum(checkpoint.tensors[name].nbytes for name in names) < SMALL
        is_changed = is_small or all(name in changed for name in step.ours)
        theirs = [copied(infos.get(name), name, tensors) if is_changed else tensors[name] for name in names]
        yield from zip(step.ours, step.op.load(theirs), strict=True)
