"""Known mistakes of matrices that files hold as one: cut by parts where they lie by head, or in another order.

Shapes: N query heads, K key/value heads, H head dim, F ffn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from zoo.nn import GatedMLP
from zoo.verification.edits import Edit, reweighting
from zoo.verification.mistakes.repair import Case, Mistake, Repair


def fused_rows(case: Case) -> Iterator[Repair]:
    """Queries, keys and values, or gate and up, were cut out of one matrix at the wrong rows."""
    for name, attn in case.having("q_proj", "k_proj", "v_proj", "head_dim", "num_kv_heads"):
        parts = [attn.q_proj, attn.k_proj, attn.v_proj]
        if all(isinstance(part, nn.Linear) for part in parts):
            for kind, rows in _orders_of_attention(parts, attn.head_dim, attn.num_kv_heads):
                yield _repair(name, "q, k and v", kind, parts, rows)
    for name, mlp in case.modules.items():
        if isinstance(mlp, GatedMLP):
            parts, count = [mlp.gate_proj, mlp.up_proj], mlp.gate_proj.out_features
            rows = torch.arange(2 * count)
            yield _repair(name, "gate and up", "row by row", parts, rows.view(count, 2).mT.flatten())
            yield _repair(name, "gate and up", "one after the other", parts, rows.view(2, count).mT.flatten())


MISTAKES: dict[str, Mistake] = {"fused rows": fused_rows}


def _orders_of_attention(parts: Sequence[nn.Linear], head_dim: int, num_kv_heads: int) -> Iterator[tuple[str, Tensor]]:
    """Which rows of ours, q, k and v counted as one, should be q, k and v."""
    sizes = [part.out_features for part in parts]
    rows = torch.arange(sum(sizes))
    counts = [size // num_kv_heads // head_dim for size in sizes]  # heads of each in a group
    by_group = rows.view(num_kv_heads, sum(counts), head_dim).split(counts, 1)
    yield "head by head", torch.cat([part.flatten() for part in by_group])
    together = [part.view(num_kv_heads, -1, head_dim) for part in rows.split(sizes)]
    yield "one after the other", torch.cat(together, 1).flatten()
    for order in permutations(range(3)):
        if order != (0, 1, 2) and [sizes[i] for i in order] == sizes:
            says = "in the order " + ", ".join("qkv"[i] for i in order)
            yield says, torch.cat([rows.split(sizes)[order.index(i)] for i in range(3)])


def _repair(where: str, what: str, kind: str, parts: Sequence[nn.Linear], rows: Tensor) -> Repair:
    return Repair(
        "fused rows", f"{what} {kind}", where,
        f"{what} have each other's rows; in the reference's file they are {kind}",
        "split_heads(...) instead of split(...) in the weight table, or the reverse, or its parts in a different order",
        _cut_anew(parts, rows),
    )  # fmt: skip


def _cut_anew(parts: Sequence[nn.Linear], rows: Tensor) -> Edit:
    """The parts with the rows [sum of theirs] of all of them as they are."""
    sizes = [part.out_features for part in parts]
    changes: list[Any] = []
    for name in ("weight", "bias"):
        owned = [getattr(part, name) for part in parts]
        if any(parameter is None for parameter in owned):
            continue
        before = [parameter.data for parameter in owned]
        for parameter, own in zip(owned, rows.split(sizes), strict=True):
            changes.append((parameter, lambda _, own=own, before=before: torch.cat(before)[own.to(before[0].device)]))
    return reweighting(*changes)
