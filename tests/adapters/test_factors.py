"""What a table does to two factors is what it does to their product: every family's, against the dense difference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.some import some
from zoo.adapters.factors import Factors, through
from zoo.adapters.fit.base import AdaptedBase
from zoo.adapters.roles import ROLES
from zoo.registry import installed
from zoo.weights.ops import transpose
from zoo.weights.table import Step, foreign_shapes

FAMILIES = [name for name, family in installed().families.items() if "hf" in family.formats]


def base_of(name: str) -> AdaptedBase:
    family = installed()[name]
    config = family.config_class.tiny()
    return AdaptedBase(family, config, config.anatomy().shapes(), name)


def kinds(base: AdaptedBase) -> Iterator[Step]:
    """A step of each operation, of those that make matrices of linear layers or of experts."""
    roles = {
        n: w.role for w in base.config.anatomy().weights for n in w.names() if w.is_matmul and len(w.shape) in (2, 3)
    }
    seen = set()
    for step in base.tables[0].steps:
        key = (str(step.op), len(step.theirs), roles.get(step.ours[0]))
        if key not in seen and all(roles.get(n) in ROLES for n in step.ours):
            seen.add(key)
            yield step


def factors(count: int, n_out: int, n_in: int, seed: int) -> Factors:
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(count, 2, n_in, generator=g, dtype=torch.float64)
    return Factors(a, torch.randn(count, n_out, 2, generator=g, dtype=torch.float64), 0.5 + seed)


def dense(one: Factors) -> torch.Tensor:
    return one.scaling * one.b @ one.a


@pytest.mark.parametrize("family", some(FAMILIES, "llama", "gpt2", "chatglm", "mixtral", "qwen2_moe"))
def test_factors_go_through_every_table_and_back(family: str) -> None:
    base, tried = base_of(family), 0
    for step in kinds(base):
        shapes = [*foreign_shapes(step, base.shapes).values()]
        lying = "transpose" in str(step.op)
        read, whole = {}, []
        for i, shape in enumerate(shapes):
            count, *sides = shape if len(shape) == 3 else (1, *shape)
            n_out, n_in = reversed(sides) if lying else sides
            one = factors(count, n_out, n_in, seed=i)
            used = i == 0 or i % 3 != 1 or len(step.ours) > 1  # some of many have none
            if used:
                read[i] = one
            product = dense(one) * used
            whole.append((product.mT if lying else product).reshape(shape))
        expected = step.op.load(whole)
        found = through(step, read, base.shapes, "a")
        for name, wanted in zip(step.ours, expected, strict=True):
            got = dense(found[name]).reshape(wanted.shape)
            assert torch.allclose(got, wanted, atol=1e-12), (step, name)  # float64, sums of two products
        back = through(
            Step(step.theirs, step.ours, ~step.op), dict(enumerate(found.values())), _theirs(step, base), "a"
        )
        for i, wanted in enumerate(whole):
            if i in read:
                got = dense(back[step.theirs[i]])
                assert torch.allclose((got.mT if lying else got).reshape(wanted.shape), wanted, atol=1e-12), step
        tried += 1
    assert tried


def _theirs(step: Step, base: AdaptedBase) -> dict[str, tuple[int, ...]]:
    return foreign_shapes(step, base.shapes)


def test_rows_of_one_matrix_keep_its_first_factor() -> None:
    base = base_of("gpt2")
    step = next(step for step in base.tables[0].steps if step.theirs == ("transformer.h.0.attn.c_attn.weight",))
    n_in, n_out = foreign_shapes(step, base.shapes)[step.theirs[0]]
    one = factors(1, n_out, n_in, seed=0)
    found = through(step, {0: one}, base.shapes, "a")
    assert all(torch.equal(part.a, one.a) and part.rank == 2 for part in found.values())
    assert step.op.name.startswith(transpose.name)
