"""Rows with pictures: a batch says what its rows say one by one, of pictures as the folder's file has them read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken

import zoo
from tests.text.tiny import byte_level, write
from tests.training.runs import job, jsonl
from tests.vision.test_illustration import BELOW, BESIDE, END, GEMMA4, QWEN2, SOFT, START, WHOLE, config_of
from zoo.errors import UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.text import Tokenizer
from zoo.training.corpus import Record
from zoo.training.objectives.pictured import PicturedAnswers, have_pictures
from zoo.training.running.beginning import begun
from zoo.vision.prompts import joined

Image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
ROWS: list[dict[str, Any]] = [
    {"images": ["flat.png"], "prompt": "what", "answer": "the town"},
    {"prompt": "none", "answer": "time"},
    {"images": ["tall.png", "flat.png"], "prompt": "both", "answer": "it"},
]
SETTINGS = {"gemma4_vl": GEMMA4, "qwen2_vl": QWEN2}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3_vl", "gemma4_vl", "llama4_vl", "qwen_vl", "qwen2_vl"])
def test_the_loss_of_a_batch_is_that_of_its_rows(family: str, tmp_path: Path) -> None:
    zoo.save(peaked(zoo.build(config_of(family), device="cpu", dtype="float64")), tmp_path)
    words = byte_level()
    words.add_special_tokens([AddedToken(t, special=True) for t in (START, SOFT, END, WHOLE, BESIDE, BELOW)])
    write(tmp_path, words)
    if family in SETTINGS:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(SETTINGS[family]))
    for name, size in (("flat", (30, 22)), ("tall", (18, 32))):
        Image.effect_noise(size, 90.0).convert("RGB").save(tmp_path / f"{name}.png")
    model, tokenizer = zoo.load(tmp_path, dtype="float64"), Tokenizer.from_folder(tmp_path)
    answers = [tokenizer.encode(row["answer"], add_special_tokens=False) for row in ROWS]
    rows = [Record(f"row {i}", row, tmp_path) for i, row in enumerate(ROWS)]
    task = PicturedAnswers(rows, tokenizer, answers, 400)
    total, draw = sum(map(len, answers)), torch.Generator()
    with torch.inference_mode():
        whole = task.loss(model, task.batch(model, [0, 1, 2], draw), total)[0]
        single = [task.loss(model, task.batch(model, [i], draw), total)[0] for i in range(3)]
        other = task.loss(model, task.batch(model, [0, 1], draw), total)[0]
    assert whole.item() == pytest.approx(sum(single).item(), abs=1e-9)  # the order of sums
    assert abs(whole - other) > 1e-3


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ({"image": "a.png"}, "row 1 has 'image', which objective=sft does not read"),
        ({"videos": ["a.mkv"]}, "row 1 has 'videos', which objective=sft does not read"),
        ({"images": "a.png"}, "row 1: 'images' is no list of names of files"),
        ({"images": [None]}, "row 1: 'images' is no list of names of files"),
    ],
)
def test_what_a_row_shows_in_another_way_is_refused_and_not_left_out(shown: dict[str, Any], message: str) -> None:
    rows = [Record("row 0", {"prompt": "a", "answer": "b", "image": None, "images": []})]
    assert not have_pictures(rows)
    assert have_pictures([*rows, Record("row 1", {"images": ["a.png"]})])
    with pytest.raises(UsageError, match=message):
        have_pictures([*rows, Record("row 1", {"prompt": "a", "answer": "b", **shown})])


def test_patches_of_several_pictures_are_padded_and_nothing_else_is() -> None:
    one = {"pixels": torch.ones(2, 3, 4), "shapes": torch.tensor([[1, 3], [3, 1]])}
    two = {"pixels": torch.full((1, 5, 4), 2.0), "shapes": torch.tensor([[5, 1]])}
    found = joined([one, two])
    assert found["pixels"].sum((1, 2)).tolist() == [12.0, 12.0, 40.0]
    assert not found["pixels"][:2, 3:].any()
    assert found["shapes"].tolist() == [[1, 3], [3, 1], [5, 1]]
    assert joined([]) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("clip", {"image_processor_type": "CLIPImageProcessor", "size": 16, "crop_size": 16}),
        ("siglip", {"image_processor_type": "SiglipImageProcessor", "size": {"height": 16, "width": 16}}),
        ("siglip2", {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 4, "max_num_patches": 8}),
    ],
)
def test_two_towers_learn_from_pictures_as_they_will_read_them(
    family: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Bytes as they are, which no default says; of SigLIP 2, patches of the shapes that pictures have."""
    tiny: Any = installed()[family].config_class.tiny()
    config = replace(tiny, text=replace(tiny.text, vocab_size=400))
    zoo.save(peaked(zoo.build(config, device="cpu")), tmp_path / "model")
    write(tmp_path / "model", byte_level())
    as_bytes = {"do_rescale": False, "do_normalize": False}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(settings | as_bytes))
    rows = [{"image": f"{name}.png", "text": name} for name in ("flat", "tall")]
    for name, size in (("flat", (16, 8)), ("tall", (8, 16))):
        Image.new("RGB", size, (200, 100, 50)).save(tmp_path / f"{name}.png")
    aim = {"objective": {"name": "clip"}, "train": {"steps": 1, "batch_size": 2}, "data": {"length": 9}}
    run, _ = begun(job(tmp_path / "run", jsonl(tmp_path, rows), source=str(tmp_path / "model"), **aim), print)
    batch = run.objective.batch(run.trainee.model, [0, 1], torch.Generator())
    assert batch.args[1].unique().tolist() == [50.0, 100.0, 200.0]
    if family == "siglip2":
        assert batch.kwargs["shapes"].tolist() == [[2, 4], [4, 2]]
    if family != "clip":  # it reads its padding, which transformers' SigLIP 2 has on the left and SigLIP on the right
        last = [row[-1] for row in batch.args[0].tolist()]
        assert [token == run.objective.pad for token in last] == [family == "siglip"] * 2
    assert torch.isfinite(run.objective.loss(run.trainee.model, batch, batch.weight)[0])
