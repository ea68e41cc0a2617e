"""Small runs for tests: a model of a few thousand parameters on tokens that follow a rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import zoo
from zoo.anatomy.config import ModelConfig
from zoo.registry import installed
from zoo.training.running.beginning import TrainingJob
from zoo.training.settings import Recipe

CONSTANT = {"schedule": {"name": "constant"}}
OPTIMIZER = {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}


def tiny(family: str = "llama") -> ModelConfig:
    """The tiny config of a family."""
    return installed()[family].config_class.tiny()


def token_file(folder: Path, count: int = 700, vocab_size: int = 60) -> Path:
    """Tokens of which each follows from the one before, most of the time."""
    rng = np.random.default_rng(0)
    ids = np.cumsum(rng.choice([1, 3, 7], count, p=[0.8, 0.1, 0.1])) % vocab_size
    np.save(file := folder / "tokens.npy", ids.astype(np.uint16))
    return file


def job(folder: Path, file: Path, *, config: ModelConfig | None = None, **sections: Any) -> TrainingJob:
    """A job in float64 of `sections`, which stand over the usual ones."""
    values: dict[str, Any] = {
        "train": {"steps": 8, "batch_size": 2, **sections.pop("train", {})},
        "optimizer": {**OPTIMIZER, **sections.pop("optimizer", {})},
        "data": {"files": str(file), "length": 16, **sections.pop("data", {})},
    }
    chosen = {"name": "causal", **sections.pop("objective", {})}
    file_of_it = Path(zoo.__file__).parents[1] / "conf" / "objective" / f"{chosen['name']}.yaml"
    values["objective"] = {**yaml.safe_load(file_of_it.read_text()), **chosen}
    others = {
        name: sections.pop(name) for name in ("device", "dtype", "source", "format", "quantize") if name in sections
    }
    recipe = Recipe.of(values | sections)
    made = None if others.get("source") else config or tiny()
    return TrainingJob(recipe, str(folder), config=made, **{"dtype": "float64", **others})


def jsonl(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of these rows."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
