"""Steps of a table whose op gives too few or too many tensors: refused wherever one runs, never filled up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from tests.measurement.models import copy, write
from zoo.checkpoint import saving
from zoo.checkpoint.export_plan import reader
from zoo.checkpoint.loading import converted
from zoo.weights.entries import Rule
from zoo.weights.ops import Op, split
from zoo.weights.table import Step, foreign_shapes

HALVES = split(2, 2)
THEIRS = {"both": torch.arange(8.0).reshape(4, 2)}


def short(op: Op, count: int) -> Op:
    """The op with `count` of its results, the last repeated."""

    def some(tensors: list[Any]) -> list[Any]:
        return (tensors + tensors[-1:] * count)[:count]

    return replace(
        op, load=lambda x: some(op.load(x)), dump=lambda y: some(op.dump(y)), shapes=lambda s: some(op.shapes(s))
    )


def ledger(op: Op) -> Any:
    step = Step(("up", "down"), ("both",), op)
    account = SimpleNamespace(steps=[step], actual={"both": "both"})
    checkpoint = SimpleNamespace(packing=None, tensors={})
    return SimpleNamespace(account=account, checkpoint=checkpoint, source="here", exact=())


def test_a_step_gives_each_of_its_tensors() -> None:
    found = dict(converted(ledger(HALVES), THEIRS))
    assert torch.equal(found["up"], THEIRS["both"][:2])
    assert torch.equal(found["down"], THEIRS["both"][2:])
    assert torch.equal(reader(ledger(HALVES), THEIRS, None)("down"), THEIRS["both"][2:])


@pytest.mark.parametrize("count", [1, 3])
def test_loading_and_converting_refuse_another_number(count: int) -> None:
    broken = ledger(short(HALVES, count))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        list(converted(broken, THEIRS))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        reader(broken, THEIRS, None)("up")


@pytest.mark.parametrize("count", [0, 2])
def test_exporting_refuses_another_number(count: int) -> None:
    step = Step(("up", "down"), ("both",), short(HALVES, count))

    def ours(name: str) -> Tensor:
        return THEIRS["both"][:2]

    with pytest.raises(ValueError, match=r"shorter|longer"):
        list(saving.exported([step], ours))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        foreign_shapes(step, {"up": (2, 2), "down": (2, 2)})


def test_a_rule_over_two_indices_names_every_pair() -> None:
    rule = Rule(("all",), ("part.{e}.{k}",), HALVES, (("e", 2), ("k", 3)))
    assert rule.their_names({"below": ".weight"}) == tuple(f"part.{e}.{k}.weight" for e in (0, 1) for k in (0, 1, 2))


def test_a_dtype_is_never_assumed_where_files_tell_it(tmp_path: Path) -> None:
    """The config leaves it out; the tensors have it."""
    tensors = copy(tmp_path / "m", dtype=torch.bfloat16)
    folder = write(tmp_path / "m", tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "dtype"}))
    found = zoo.inspect(folder)
    assert found.config.dtype == "bfloat16"
    assert "dtype" not in found.keys.assumed
