"""A config that is changed by hand changes a model that is built from it later, and never one that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.errors import ConfigError, UsageError


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
