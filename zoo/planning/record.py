"""A plan for a budget: what each law says is best, models of about that size, days and memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import log
from typing import Any

from zoo.anatomy.size import Size
from zoo.errors import UsageError, ZooError
from zoo.planning.cluster import Cluster, Parallelism
from zoo.planning.laws import LAWS, Optimum, check_budget, loss
from zoo.presets import ModelRecord, config, list_models

NEAR = 3  # presets that are named for a law
LENGTH = 8192  # tokens of a text in training, where nobody says


@dataclass(frozen=True)
class Plan:
    """What a budget is good for."""

    budget: float  # FLOPs
    optima: tuple[Optimum, ...]  # by law
    near: dict[str, list[tuple[str, int]]]  # law -> presets and their parameters, the nearest first
    model: str  # of which days and memory are told
    size: Size
    tokens: float  # that the budget pays for this model
    length: int
    cluster: Cluster | None = None
    days: float | None = None
    copies: int | None = None
    bytes_each: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        laws = [
            {
                "law": o.law, "source": law.source, "parameters": o.parameters, "tokens": o.tokens,
                "tokens_per_parameter": o.ratio, "loss": loss(o.parameters, o.tokens),
                "presets": [name for name, _ in self.near[o.law]],
            }
            for o, law in zip(self.optima, LAWS, strict=True)
        ]  # fmt: skip
        machines = None if self.cluster is None else vars(self.cluster)
        return {
            "flops": self.budget, "laws": laws, "model": self.model, "parameters": self.size.parameters,
            "tokens": self.tokens, "length": self.length, "cluster": machines, "days": self.days,
            "copies": self.copies, "bytes_per_gpu": self.bytes_each,
        }  # fmt: skip


def plan(
    *,
    budget: float | None = None,
    cluster: Cluster | None = None,
    days: float | None = None,
    model: str | None = None,
    layout: Parallelism | None = None,
    length: int = LENGTH,
) -> Plan:
    """The plan for `budget` FLOPs, or for what a `cluster` computes in `days`.

    Days and memory are those of `model`, a name of `zoo list`, or of the nearest to what LLaMA 3's law says is best. A
    budget with a cluster gives days; a `layout` the memory of each processor. Raises UsageError for what does not fit.
    """
    if budget is None:
        if cluster is None or days is None:
            raise UsageError("a plan needs a budget", hint="FLOPS=3.8e25, or gpus=16384 days=54")
        budget = cluster.flops(days)
    elif days is not None:
        raise UsageError("FLOPS and days are two budgets", hint="leave one of them out")
    check_budget(budget)
    optima = tuple(law.optimum(budget) for law in LAWS)
    listed = list_models()
    near = {o.law: _nearest(o.parameters, listed) for o in optima}
    name = model or near[optima[-1].law][0][0]
    size = Size.of(config(name))
    if layout is not None and cluster is None:
        raise UsageError("a layout cuts a model over processors", hint="add gpus=16384")
    each = None if layout is None or cluster is None else layout.bytes_each(size, cluster.gpus, length)
    copies = None if layout is None or cluster is None else layout.data(cluster.gpus)
    return Plan(
        budget, optima, near, name, size, budget / (6 * size.active_parameters), length, cluster,
        None if cluster is None else cluster.days(budget), copies, each,
    )  # fmt: skip


def _nearest(parameters: float, listed: list[ModelRecord]) -> list[tuple[str, int]]:
    """Presets of about so many parameters, the nearest first; of several of one size the first that is listed.

    The laws are those of decoders all of whose parameters each token uses.
    """
    sizes: dict[int, str] = {}
    for record in listed:
        if record.parameters and record.attention and "/" not in record.name:
            sizes.setdefault(record.parameters, record.name)
    found: list[tuple[str, int]] = []
    for n in sorted(sizes, key=lambda n: abs(log(n / parameters))):
        if _is_dense(sizes[n]):
            found.append((sizes[n], n))
        if len(found) == NEAR:
            break
    if not found:
        raise ZooError("no decoder is listed whose size is known", hint="zoo list")
    return found


@cache
def _is_dense(name: str) -> bool:
    size = Size.of(config(name))
    is_decoder = not size.anatomy.cross and all(a.is_causal for a in size.anatomy.attention)
    return is_decoder and size.parameters == size.active_parameters
