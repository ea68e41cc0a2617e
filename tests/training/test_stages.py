"""Stages of a run, and what learns in each: Qwen-VL's three on a tiny model with pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

import zoo
from tests.training.runs import job, tiny, token_file
from zoo.errors import ZooError
from zoo.training.running import beginning
from zoo.training.running.beginning import train
from zoo.training.settings import Recipe

STAGES = [  # arXiv:2308.12966, 3: the eyes first, then all, then the language model and what joins the two
    {"freeze": ["*", "!visual.*"], "train": {"steps": 2}},
    {"freeze": [], "train": {"steps": 3}, "optimizer": {"lr": 5e-4}},
    {"freeze": ["visual.*", "!visual.resampler.*"], "train": {"steps": 2}},
]


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """What each stage changed, by the first words of the parameters' names."""
    found: list[set[str]] = []
    go = beginning.go

    def watched(run: Any, *, done: int = 0) -> Any:
        before = {name: p.detach().clone() for name, p in run.trainee.model.named_parameters()}
        record = go(run, done=done)
        changed = [n for n, p in run.trainee.model.named_parameters() if not torch.equal(p, before[n])]
        found.append({".".join(name.split(".")[: 1 + name.startswith("visual")]) for name in changed})
        return record

    monkeypatch.setattr(beginning, "go", watched)
    return found


def eyes(folder: Path) -> Path:
    """A tiny Qwen-VL with a tokenizer of its 64 ids, three of which stand around pictures."""
    config = replace(tiny("qwen_vl"), vocab_size=64)
    model = zoo.build(config, device="cpu", seed=0)
    zoo.save(model, folder, format="zoo")
    names = [f"w{i}" for i in range(64)]
    start = config.vision.image_start_id
    names[start : start + 3] = ["<img>", "</img>", "<imgpad>"]
    backend = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["<img>", "</img>", "<imgpad>"])
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.slow
def test_the_three_stages_of_qwen_vl(tmp_path: Path, moved: list[set[str]]) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (12, 12), (200, 30, 30)).save(tmp_path / "a.png")
    rows = [{"images": ["a.png"], "prompt": "w5 w6", "answer": f"w{7 + i}"} for i in range(4)]
    (file := tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source, aim = str(eyes(tmp_path / "model")), {"name": "sft"}
    made = job(tmp_path / "run", file, source=source, stages=STAGES, data={"length": 40}, format="zoo", objective=aim)
    run, _ = train(made)
    language = {"embed", "layers", "norm", "lm_head"}
    sight = {"visual.tower", "visual.resampler", "visual.norm", "visual.proj"}
    assert moved == [sight, language | sight, language | {"visual.resampler"}]
    records = run.folder.records()
    assert [r["step"] for r in records] == [*range(1, 8)]
    assert [r.get("stage", 1) for r in records] == [1, 1, 2, 2, 2, 3, 3]


@pytest.mark.slow
def test_stages_go_on_bit_for_bit_from_the_middle_of_one(tmp_path: Path, moved: list[set[str]]) -> None:
    file = token_file(tmp_path)
    stages = [{"freeze": ["embedding"], "train": {"steps": 2}}, {"train": {"steps": 3}, "schedule": {"name": "linear"}}]
    whole, _ = train(job(tmp_path / "whole", file, stages=stages))
    assert "embed" not in moved[0]
    assert "embed" in moved[1]
    parted = job(tmp_path / "parted", file, stages=[stages[0], {**stages[1], "train": {"steps": 3, "stop": 1}}])
    train(parted)
    again, _ = train(replace(parted, recipe=job(tmp_path / "parted", file, stages=stages).recipe), resume=True)
    expected = dict(whole.trainee.model.named_parameters())
    assert all(torch.equal(p, expected[name]) for name, p in again.trainee.model.named_parameters())
    assert [r["loss"] for r in again.folder.records()] == [r["loss"] for r in whole.folder.records()]


def test_a_stage_that_says_what_none_can_is_named(tmp_path: Path) -> None:
    made = job(tmp_path / "run", token_file(tmp_path), stages=[{}, {"freez": []}])
    with pytest.raises(ZooError, match=r"stage 2: no key 'freez'\ndid you mean: freeze"):
        train(made)
    with pytest.raises(ZooError, match="stages is not a list of groups"):
        Recipe.of({"stages": [1]})
