"""A smaller model's weights in a larger one's files: whole layers, the first channels, a block of each layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.anatomy.slices import Nested
from zoo.files.tensor_info import TensorInfo
from zoo.weights import Table, rename, rule, transpose
from zoo.weights.account import Account, settle
from zoo.weights.nesting import NestedTable, Runs, taken
from zoo.weights.proof import prove

TABLE = Table(
    rename("embed", "wte"),
    rename("per_layer", "blocks"),
    rename("layers.{i}.up", "h.{i}.fc"),
    rule("layers.{i}.down", "h.{i}.proj", transpose),
)
PART = Nested("small", ModelConfig(), (0, 1, 3), frozenset({"per_layer.weight"}), "")


def shapes(layers: int, width: int) -> dict[str, Shape]:
    found: dict[str, Shape] = {"embed.weight": (5, 2), "per_layer.weight": (5, 3 * layers)}
    for i in range(layers):
        found |= {f"layers.{i}.up.weight": (width, 2), f"layers.{i}.down.weight": (2, width)}
    return found


MINE, WHOLE = shapes(3, 4), shapes(4, 6)
THEIRS: dict[str, Shape] = {"wte.weight": (5, 2), "blocks.weight": (5, 12)}
THEIRS |= {f"h.{i}.{name}.weight": (6, 2) for i in range(4) for name in ("fc", "proj")}


def settled(table: Table, theirs: dict[str, Shape]) -> Account:
    return settle(table, MINE, {n: TensorInfo(n, "float32", s, Path("x"), 0, None) for n, s in theirs.items()})


def test_each_weight_is_a_part_of_the_whole_models() -> None:
    account = settled(NestedTable(TABLE, PART, MINE, WHOLE), THEIRS)
    assert account.is_settled, account.problems()
    assert account.ignored == {f"h.2.{name}.weight": "left out by model.slice=small" for name in ("fc", "proj")}
    held = {n: torch.arange(torch.Size(s).numel()).reshape(s) + 100 * i for i, (n, s) in enumerate(THEIRS.items())}
    found = {s.ours[0]: s.op.load([held[n] for n in s.theirs])[0] for s in account.steps}
    assert {name: tuple(x.shape) for name, x in found.items()} == MINE
    assert torch.equal(found["embed.weight"], held["wte.weight"])
    assert torch.equal(found["per_layer.weight"], held["blocks.weight"][:, [0, 1, 2, 3, 4, 5, 9, 10, 11]])
    assert torch.equal(found["layers.2.up.weight"], held["h.3.fc.weight"][:4])
    assert torch.equal(found["layers.2.down.weight"], held["h.3.proj.weight"].T[:, :4])


def test_the_larger_models_sizes_are_held_to() -> None:
    table = NestedTable(TABLE, PART, MINE, WHOLE)
    account = settled(table, THEIRS | {"h.3.fc.weight": (7, 2), "h.9.fc.weight": (1,)})
    assert account.mismatched == {"h.3.fc.weight": "[7, 2] in x, expected [6, 2]"}
    assert account.unexpected == {"h.9.fc.weight": (1,)}
    assert "h.1.proj.weight" in settled(table, {n: s for n, s in THEIRS.items() if n != "h.1.proj.weight"}).missing


def test_the_proof_counts_what_is_left_out_and_finds_what_is_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    table = NestedTable(TABLE, PART, MINE, WHOLE)
    proof = prove(table, MINE)
    assert proof.holds, proof.faults
    assert (proof.elements, proof.left_out) == (10 + 45 + 3 * 16, 15 + 24 + 3 * 8)
    assert f"{proof.left_out} of their numbers are left out" in str(proof)
    monkeypatch.setattr(NestedTable, "_origin", lambda self, name: name.replace("layers.2", "layers.1"))
    assert not prove(table, MINE).holds
    monkeypatch.undo()
    assert not prove(NestedTable(TABLE, replace(PART, layers=(0, 1, 1)), MINE, WHOLE), MINE).holds


def test_runs_of_rows_and_columns_are_taken() -> None:
    x = torch.arange(24).reshape(4, 6)
    op = taken(Runs(1, 6, ((0, 1), (3, 5))), None, Runs(0, 4, ((0, 2),)))
    columns, whole, rows = op.load([x, x, x])
    assert columns.tolist() == [[0, 3, 4], [6, 9, 10], [12, 15, 16], [18, 21, 22]]
    assert torch.equal(whole, x)
    assert torch.equal(rows, x[:2])
    assert op.shapes([(4, 3), (4, 6), (2, 6)]) == [(4, 6)] * 3
    assert op.our_shapes([(4, 6)] * 3) == [(4, 3), (4, 6), (2, 6)]
    with pytest.raises(NotImplementedError):
        op.dump([x])
