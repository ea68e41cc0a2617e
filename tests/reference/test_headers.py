"""Every tensor of the hub's own files has its place, whatever its spelling and whatever lies beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reference.conftest import VARIANTS, Case, Variant
from tests.reference.headers import FILE, read
from tests.some import one_in
from zoo.checkpoint.interpretation import our_shapes, table_for
from zoo.files.tensor_info import TensorInfo
from zoo.registry import installed
from zoo.weights import ForeignConfig
from zoo.weights.account import settle

KEPT: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))


def account(kept: dict[str, Any]) -> Any:
    """What becomes of the tensors, with every key of the config read."""
    family, file = installed()[kept["family"]], Path("model.safetensors")
    tensors = {n: TensorInfo(n, dtype, tuple(shape), file, 0, 0) for n, (dtype, *shape) in kept["tensors"].items()}
    keys = ForeignConfig(kept["config"], "config.json", tensors)
    config = family.dialect("hf").from_config(keys)
    keys.check()
    return settle(table_for(family, "hf", config, tensors), our_shapes(family, config), tensors)


@pytest.mark.parametrize("name", one_in(6, sorted(KEPT)))
def test_every_tensor_has_its_place(name: str) -> None:
    kept = KEPT[name]
    (family, _), *others = installed().detect(kept["config"], "hf")
    assert (family.name, others) == (kept["family"], [])
    found = account(kept)
    assert found.problems() == []
    assert len(found.loaded) + len(found.tied) + len(found.ignored) == len(kept["tensors"])


@pytest.mark.parametrize("name", one_in(6, sorted(KEPT)))
def test_a_tensor_too_few_is_missed_and_one_too_many_not_taken(name: str) -> None:
    """Of each layer the first tensor that is loaded, and another beside it."""
    kept = KEPT[name]
    first = account(kept).loaded[-1]
    less = {n: t for n, t in kept["tensors"].items() if n != first}
    assert not account({**kept, "tensors": less}).is_settled
    more = {**kept["tensors"], f"{first}_too": kept["tensors"][first]}
    assert list(account({**kept, "tensors": more}).unexpected) == [f"{first}_too"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KEPT))
def test_the_headers_are_those_that_transformers_writes(name: str, make_case: Callable[[str, Variant], Case]) -> None:
    assert read(make_case(name, VARIANTS[-1]).folder) == KEPT[name]
