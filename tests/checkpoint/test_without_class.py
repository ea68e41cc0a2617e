"""An encoder whose config.json names no class is its trunk, which is told; what has a head of its own is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import CheckpointError, ConfigError, ZooWarning
from zoo.registry import installed

pytestmark = pytest.mark.slow
FAMILIES = "albert bert deberta distilbert electra modernbert mpnet roberta xlm_roberta".split()
HEADS = ("sequence_classification", "token_classification", "question_answering")


def saved(family: str, folder: Path, head: str) -> Any:
    """A tiny one with that head, whose files name no class."""
    tiny = installed()[family].config_class.tiny()
    model: Any = None
    for pooled in (True, False):
        wanted = {"head": head, "has_pooler": pooled, "num_labels": 2 if "classification" in head else None}
        try:
            config = replace(tiny, **{f.name: wanted[f.name] for f in fields(tiny) if f.name in wanted})
        except ConfigError:
            continue
        model = zoo.build(config, device="cpu", seed=1, dtype="float64")
        break
    zoo.save(model, folder)
    raw = json.loads((folder / "config.json").read_text())
    del raw["architectures"]
    (folder / "config.json").write_text(json.dumps(raw))
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trunk_is_read_and_told(family: str, tmp_path: Path) -> None:
    model = saved(family, tmp_path / "a", "none")
    with pytest.warns(ZooWarning, match=r"Assumed: architectures=\['\w+Model'\]"):
        found = zoo.load(tmp_path / "a", dtype="float64")
    assert found.config.head == "none"
    tokens = torch.tensor([[5, 9, 7, 11, 6]])
    with torch.inference_mode():
        gap = (found(tokens).hidden - model(tokens).hidden).abs().max().item()
    assert gap < 1e-12  # one of the two computes queries, keys and values at once: the order of sums


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_that_no_class_names_is_refused(family: str, head: str, tmp_path: Path) -> None:
    saved(family, tmp_path / "a", head)
    with pytest.raises(CheckpointError, match="do not match"):
        zoo.load(tmp_path / "a")
