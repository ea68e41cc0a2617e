"""The proof that a weight table is a bijection: every installed table is one, and every broken one is found out."""

from __future__ import annotations

import pytest
import torch

from zoo.registry import installed
from zoo.verification.proving import prove_families, prove_ledger
from zoo.weights import Op, Table, rename, rope_halves, rule, split, stack, transpose
from zoo.weights import proof as proofs
from zoo.weights.proof import prove

SHAPES = {"a.weight": (6, 4), "b.weight": (6, 4)}
FAMILIES = sorted(installed().families)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_table_of_a_family_is_a_bijection(family: str) -> None:
    rows = list(prove_families([family]))
    assert [row.dialect for row in rows] == list(installed()[family].formats)
    for row in rows:
        assert row.holds, row
        assert not row.refusal, row
        assert row.proof.elements > 0


def broken(name: str, load: object, dump: object) -> Op:
    return Op(name, load, dump, list, list)  # type: ignore[arg-type]  # made to be wrong


def test_a_table_that_loses_numbers_is_found_out() -> None:
    zeroed = broken("zeroed", list, lambda y: [torch.zeros_like(x) for x in y])
    (fault, *_) = prove(Table(rule("a", "x", zeroed), rename("b", "y")), SHAPES).faults
    assert "a.weight is not restored from x.weight" in fault


def test_a_table_whose_directions_do_not_fit_is_found_out() -> None:
    crooked = broken("crooked", lambda x: [x[0].flip(0)], list)
    assert prove(Table(rule("a", "x", crooked), rename("b", "y")), SHAPES).faults


def test_a_table_that_repeats_numbers_is_found_out() -> None:
    def twice(y: list[torch.Tensor]) -> list[torch.Tensor]:
        return [torch.cat((y[0], y[0][:2]))]

    op = Op("twice", lambda x: [x[0][:6]], twice, lambda s: [(8, 4)], lambda s: [(6, 4)])
    assert any(
        "repeat 8 of their numbers" in f for f in prove(Table(rule("a", "x", op), rename("b", "y")), SHAPES).faults
    )


def test_two_weights_in_one_place_are_found_out() -> None:
    assert "x.weight would be written twice" in prove(Table(rename("a", "x"), rename("b", "x")), SHAPES).faults


def test_a_weight_without_a_rule_is_found_out() -> None:
    assert "no rule gives b.weight" in prove(Table(rename("a", "x")), SHAPES).faults


def test_an_op_that_stops_is_a_fault_and_no_crash() -> None:
    (fault,) = prove(Table(rule(("a", "b"), "x", split(5, 5))), SHAPES).faults
    assert "split(5, 5)" in fault


def test_a_large_step_is_proven_on_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "MAX_ELEMENTS", 30)
    whole = prove(Table(rule(("a", "b"), "x", split(6, 6))), SHAPES)
    assert whole.holds
    assert whole.sliced == 1
    assert whole.elements == 48


def test_a_slice_still_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "MAX_ELEMENTS", 20)
    crooked = broken("crooked", lambda x: [x[0].flip(0)], list)
    assert prove(Table(rule("a", "x", crooked), rename("b", "y")), SHAPES).faults


def test_what_cannot_be_cut_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "MAX_ELEMENTS", 20)
    (fault,) = prove(Table(rule("a", "x", transpose), rename("b", "y")), SHAPES).faults
    assert "cannot be cut" in fault


def test_counts_are_of_tensors_and_numbers() -> None:
    shapes = {"a.weight": (3, 4, 6), "q.weight": (8, 4)}
    table = Table(rule("a.weight", "x.{e}.weight", stack(3), e=3), rule("q", "wq", rope_halves(2, 4)))
    found = prove(table, shapes)
    assert (found.holds, found.tensors, found.foreign, found.elements, found.moved) == (True, 2, 4, 104, 2)


def test_a_source_is_proven_at_its_own_sizes() -> None:
    from zoo.checkpoint.inspection import inspect

    (read, written) = prove_ledger(inspect("tiny"), "meta")
    assert (read.dialect, written.dialect) == ("hf", "meta")
    assert read.holds
    assert written.holds
    assert read.proof.elements == 1_062_272
