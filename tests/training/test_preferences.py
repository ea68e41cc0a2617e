"""Answers that are preferred or worth more than others: DPO, models of reward and their folders, GRPO."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.training.runs import CONSTANT, job, jsonl, tiny
from zoo.training.objectives.pairs import answer_batch
from zoo.training.running.beginning import train
from zoo.training.running.rewarding import rewarding

PAIRS = [
    {"prompt": f"{who} was", "chosen": " very happy.", "rejected": " very sorry."} for who in ("Emma", "Anne", "Jane")
]


def test_an_answer_is_predicted_from_its_first_token_that_something_stands_before() -> None:
    for prompt, expected in ((2, [-100, 7, 8, -100]), (1, [6, 7, 8, -100]), (0, [6, 7, 8, -100])):
        assert answer_batch([([5, 6, 7, 8], prompt)]).labels.tolist() == [expected]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo", "reward"])
def test_what_is_preferred_gains_a_margin(tmp_path: Path, name: str) -> None:
    file = jsonl(tmp_path, PAIRS)
    options = {"source": "tiny", "dtype": "float32", "optimizer": {"lr": 1e-3}, "data": {"length": 32}, **CONSTANT}
    made = job(tmp_path / "run", file, train={"steps": 8, "stop": 4}, objective={"name": name}, **options)
    train(made)
    whole = replace(made, recipe=replace(made.recipe, train=replace(made.recipe.train, stop=None)))
    run, _ = train(whole, resume=True)  # the model before is the one that the run began with
    margins = [record["margin"] for record in run.folder.records()]
    assert abs(margins[0]) < 1e-5  # the same model twice; norms round otherwise where nothing learns, in float32
    assert margins[-1] > max(margins[0], 0.1)
    assert run.folder.records()[-1]["accuracy"] == 1.0


@pytest.mark.slow
def test_the_folder_of_a_reward_is_a_model_of_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra reference is not installed")
    file = jsonl(tmp_path, PAIRS)
    stages = [{"train": {"steps": 2}}, {"train": {"steps": 2, "ema": 0.5}}]
    options: dict[str, Any] = {"source": "tiny", "dtype": "float32", "optimizer": {"lr": 1e-3}, **CONSTANT}
    data = {"length": 32, "validation": str(file)}
    made = job(tmp_path / "run", file, stages=stages, objective={"name": "reward"}, data=data, **options)
    run, record = train(made)
    assert record["validation"] < math.log(2)  # by the head that is trained, in both stages
    model: Any = zoo.load(tmp_path / "run")
    assert (model.config.family, model.config.head, model.config.num_labels) == ("headed", "sequence_classification", 1)
    assert torch.equal(model.classifier.weight, run.trainee.kept()["extra.weight"])
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "run")
    assert type(theirs).__name__ == "LlamaForSequenceClassification"
    objective: Any = run.objective
    batch = objective.batch(model, [0, 1, 2], torch.Generator())
    with torch.no_grad():
        scores = model(*batch.args).logits
        assert (scores - theirs(*batch.args).logits).abs().max() < 1e-4  # float32, other kernels
        state = {name: kept for name, kept in run.trainee.kept().items() if not name.startswith("extra.")}
        run.trainee.model.load_state_dict(state, strict=False)
        objective.extra.weight.copy_(model.classifier.weight)
        margin = objective.loss(run.trainee.model, batch, 3)[1]["margin"]
        chosen, rejected = scores[:, 0].chunk(2)
        assert margin == pytest.approx(float((chosen - rejected).sum()), abs=1e-4)


@pytest.mark.parametrize(("pad", "eos", "expected"), [(0, [2], 0), (2, [2], None), (None, [2], None), (1, [], None)])
def test_no_token_is_for_padding_where_rows_end_in_it(pad: int | None, eos: list[int], expected: int | None) -> None:
    config: Any = rewarding(replace(tiny(), pad_token_id=pad, eos_token_id=eos), 1)
    assert config.pad_token_id == expected
    assert config.trunk.family == "llama"


@pytest.mark.slow
def test_answers_that_are_worth_more_become_likelier(tmp_path: Path) -> None:
    file = jsonl(tmp_path, [{"prompt": row["prompt"]} for row in PAIRS])
    (tmp_path / "mine.py").write_text("def worth(prompt, answer, row):\n    return float(',' in answer)\n")
    aim = {"name": "grpo", "reward": f"{tmp_path}/mine.py:worth", "group": 6, "max_new_tokens": 8, "beta": 0.0}
    options = {"source": "tiny", "dtype": "float32", "optimizer": {"lr": 1e-3}, "data": {"length": 32}, **CONSTANT}
    run, _ = train(job(tmp_path / "run", file, train={"steps": 8, "batch_size": 3}, objective=aim, **options))
    rewards = [record["reward"] for record in run.folder.records()]
    assert sum(rewards[-3:]) > sum(rewards[:3])
