"""The settings of a run: YAML, records and both pages have the same; schedules and rules are their formulas."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml

from zoo.training.optimizers import make_optimizer, shrink
from zoo.training.schedules import share
from zoo.training.settings import SECTIONS, OptimizerSettings, ScheduleSettings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"


def keys() -> set[str]:
    """Every key that a user can type, but for Hydra's and the model's."""
    main = yaml.safe_load((CONF / "train.yaml").read_text())
    found = {key for key in main if key not in ("defaults", "hydra", *SECTIONS)}
    found |= {f"{section}.{key}" for section in ("train", "data", "tokenizer", "lora") for key in main[section]}
    for group in ("optimizer", "schedule", "objective"):
        for file in (CONF / group).glob("*.yaml"):
            found |= {f"{group}.{key}" for key in yaml.safe_load(file.read_text()) if key != "name"}
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_names_every_setting(language: str) -> None:
    page = (ROOT / "docs" / language / "train-command.md").read_text(encoding="utf-8").partition("<!-- settings -->")[2]
    assert not {key for key in keys() if f"`{key}`" not in page}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_yaml_has_the_fields_of_the_record(section: str) -> None:
    names = {f.name for f in fields(SECTIONS[section])} - {"name"}
    assert {key.partition(".")[2] for key in keys() if key.startswith(f"{section}.")} == names


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        (ScheduleSettings("cosine", warmup=10, final=0.1), 1, 0.1),
        (ScheduleSettings("cosine", warmup=10, final=0.1), 10, 1.0),
        (ScheduleSettings("cosine", warmup=10, final=0.1), 55, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 2))),
        (ScheduleSettings("cosine", warmup=10, final=0.1), 100, 0.1),
        (ScheduleSettings("linear", warmup=0, final=0.0), 25, 0.75),
        (ScheduleSettings("wsd", final=0.0, decay=0.2), 80, 1.0),
        (ScheduleSettings("wsd", final=0.0, decay=0.2), 90, 0.5),
        (ScheduleSettings("wsd", final=0.0, decay=0.2), 100, 0.0),
        (ScheduleSettings("constant", warmup=4), 2, 0.5),
        (ScheduleSettings("constant", warmup=4), 99, 1.0),
    ],
)
def test_a_schedule_is_its_formula(schedule: ScheduleSettings, step: int, expected: float) -> None:
    assert share(schedule, step, 100) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", ["sgd", "adam", "adagrad", "rmsprop"])
@pytest.mark.parametrize("decay", ["l2", "decoupled"])
def test_weight_decay_is_of_the_kind_that_is_said_and_none_on_biases(name: str, decay: str) -> None:
    model, plain = (torch.nn.Linear(3, 2, dtype=torch.float64) for _ in range(2))
    plain.load_state_dict(model.state_dict())
    ours = make_optimizer(model, OptimizerSettings(name, lr=0.1, weight_decay=0.5, decay=decay))
    kind = {"sgd": "SGD", "adam": "Adam", "adagrad": "Adagrad", "rmsprop": "RMSprop"}[name]
    rule = getattr(torch.optim, kind)(plain.parameters(), lr=0.1)
    for linear in (model, plain):
        linear(torch.arange(3.0, dtype=torch.float64)).square().sum().backward()
    assert plain.weight.grad is not None
    if decay == "l2":
        plain.weight.grad += 0.5 * plain.weight.detach()
    else:
        plain.weight.data *= 1 - 0.1 * 0.5
    shrink(ours)
    ours.step()
    rule.step()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-15)
