"""A config that is changed by hand changes a model that is built from it later, and never one that is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import zoo
from zoo.anatomy.config import ModelConfig
from zoo.anatomy.edited import refuse_strays
from zoo.errors import ConfigError, UsageError
from zoo.registry import installed


def small() -> Any:
    return zoo.compose("tiny", "model.num_layers=1")


def test_a_field_is_changed_before_building() -> None:
    config = small()
    config.num_layers = 2
    assert len(zoo.build(config).layers) == 2


@pytest.mark.parametrize(("part", "name", "near"), [("", "num_layer", "num_layers"), ("rope", "thetta", "theta")])
def test_a_misspelt_field_is_refused(part: str, name: str, near: str) -> None:
    config = small()
    setattr(getattr(config, part) if part else config, name, 3)
    with pytest.raises(ConfigError, match=rf"{name} is not a field of \w+, and nothing reads it\ndid you mean: {near}"):
        zoo.build(config)


def test_a_model_is_not_saved_as_what_it_does_not_compute(tmp_path: Path) -> None:
    model: Any = zoo.build(small(), device="cpu")
    model.config.rope.theta = 5e5
    with pytest.raises(UsageError, match=r"model\.rope\.theta=500000\.0, and the model was built with 10000\.0"):
        zoo.save(model, tmp_path / "out")
    model.config.rope.theta = 10000.0
    model.config.eos_token_id = [7]  # no weight depends on it
    assert zoo.inspect(zoo.save(model, tmp_path / "out")).config.eos_token_id == [7]


@dataclass(slots=True)
class Slotted:
    """A part that can have no other attributes."""

    size: int = 1


@dataclass
class Computing(ModelConfig):
    """A stranger's config, which keeps what it computes from its fields."""

    hidden_size: int = 3
    part: Slotted = field(default_factory=Slotted)

    def __post_init__(self) -> None:
        self.twice = 2 * self.hidden_size  # type: ignore[attr-defined]


def test_what_a_class_computes_as_it_begins_is_no_misspelt_field() -> None:
    config: Any = Computing(family="computing")
    refuse_strays(config)
    config.hiden_size = 3
    with pytest.raises(ConfigError, match="hiden_size is not a field of Computing"):
        refuse_strays(config)


def test_a_strangers_model_has_a_config_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    family = installed()["llama"]
    monkeypatch.setattr(type(family), "model_class", lambda self, config: made)
    for theirs in ({"size": 3}, None):
        made = SimpleNamespace(config=theirs)
        assert family.build(small()).config is theirs
