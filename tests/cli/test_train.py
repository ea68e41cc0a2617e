"""`zoo train`: what users see, on mistakes and otherwise."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import zoo
from zoo.cli import main

MISTAKES = [
    ("", "which model?\ntype a folder, a file or a name, for example: zoo train tiny"),
    ("tiny data=./a.txt", "where does it go?\ntype save=FOLDER"),
    ("tiny save=./run", "no data\ntype data=FILE: a .txt, a .jsonl or a token file"),
    ("tiny save=./run data=./a.txt train.stpes=3", "no key 'train.stpes'\ndid you mean: train.steps?"),
    ("tiny save=./run data=./a.txt trian.steps=3", "no key 'trian.steps'\ndid you mean train.steps=3?"),
    ("tiny save=./run data=./a.txt optimizer", "'optimizer' has no value\ntype: optimizer=VALUE"),
    ("tiny save=./run data=./a.txt objective=dop", "objective has no option 'dop'\ndid you mean: dpo?"),
    (
        "tiny save=./run data=./a.txt optimizer.momentum=0.9",
        "no key 'optimizer.momentum'\n"
        "known: optimizer.betas, optimizer.eps, optimizer.lr, optimizer.name, optimizer.weight_decay",
    ),
    ("tiny save=./run data=./a.txt train.steps=few", "train.steps='few' is not int"),
    ("tiny save=./run data=./a.txt lora.kind=dora", "lora.* is set, but no rank\ntype lora=16 too"),
    ("tiny save=./run parallel.pp=2",
     "parallel.pp=2: zoo train does not run in this way yet\nit knows parallel.dp, parallel.tp"),
    ("tiny save=./run parallel=2", "'parallel' is not a setting of parallel\n"
     "did you mean: parallel.tp, parallel.sp, parallel.pp?"),
    ("-m tiny save=./${hydra:job.num} parallel.dp=2",
     "-m and parallel.dp=2\neach run of a sweep has one process\nleave one of them out"),
    ("tiny save=./run data=./a.txt train.steps=0", "train.steps=0 is not at least 1"),
    ("tiny gpt2 save=./run", "two models: tiny and gpt2\nto run both: -m source=tiny,gpt2"),
    ("--resume", "--resume: which run?\ntype save=FOLDER"),
    ("--resume save=./run", "run holds no run to go on with\nleave --resume out to begin one"),
    ("-m tiny save=./run seed=1,2", "save=./run would write all runs to the same folder\n"
     "give each its own folder: 'save=./run/${hydra:job.num}'"),
]  # fmt: skip
CHEAP = {"", "tiny save=./run parallel.pp=2", "tiny save=./run data=./a.txt optimizer", "--resume"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("One day she was very happy. Tom had a big dog. " * 8)

    def typed(words: str) -> Result:
        return CliRunner().invoke(main, ["train", *words.split()])

    return typed


@pytest.mark.parametrize(
    ("typed", "printed"),
    [pytest.param(*row, id=row[0], marks=[] if row[0] in CHEAP else pytest.mark.slow) for row in MISTAKES],
)
def test_a_mistake_prints_these_lines_and_no_traceback(run: Any, typed: str, printed: str) -> None:
    result = run(typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {printed}\n"
    assert not Path("run").exists()


@pytest.mark.slow
def test_a_run_goes_on_from_a_checkpoint_and_its_folder_is_one(run: Any) -> None:
    words = "tiny data=./a.txt data.length=32 train.batch_size=2 train.log_every=2 save=./run train.steps=6"
    result = run(f"{words} train.stop=4 --json")
    assert result.exit_code == 0, result.output
    assert "step 2/6 · loss " in result.stderr
    assert "memory: " in result.stderr
    facts = json.loads(result.stdout)
    assert (facts["step"], facts["steps"], facts["saved"]) == (4, 6, {"folder": "./run", "format": "hf"})
    assert run(words).exit_code == 1  # it is there already
    for other in ("model.num_layers=2", "source=gpt2", "tokenizer.train=bpe", "dtype=float32"):
        result = run(f"--resume save=./run {other}")
        assert (result.exit_code, f"{other} is not what the run began with" in result.output) == (2, True)
    result = run("--resume save=./run optimizer=sgd")
    assert (result.exit_code, "was begun with optimizer=adamw" in result.output) == (2, True)
    result = run("--resume tiny save=./run train.stop=null")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("./run: step 6 of 6, loss ")
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(r["loss"]) and r["lr"] > 0 for r in records)
    page = Path("run/report.html").read_text()
    assert all(f'id="{name}"' in page for name in ("loss", "learning-rate", "gradient-norm", "samples", "recipe"))
    assert zoo.load("run").generate("One day", max_new_tokens=4).text
    assert zoo.load("run").ledger.family.name == "llama"


@pytest.mark.slow
def test_random_weights_get_a_tokenizer_learnt_from_the_data(run: Any) -> None:
    sizes = "model.num_layers=1 model.hidden_size=32 model.intermediate_size=48 model.num_heads=2 "
    sizes += "model.num_kv_heads=1 model.head_dim=16"
    result = run(f"model=llama3 {sizes} data=./a.txt data.length=16 train.steps=3 tokenizer.vocab_size=300 save=./run")
    assert result.exit_code == 0, result.output
    assert "tokenizer: bpe of 290 tokens, learnt from the data" in result.stderr
    model: Any = zoo.load("run")
    assert model.config.vocab_size == model.tokenizer.vocab_size == 290
    assert (model.config.bos_token_id, model.config.eos_token_id) == (1, [2])
    text = "Tom's naïve 猫"
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text


@pytest.mark.slow
def test_a_sweep_prints_a_line_for_each(run: Any) -> None:
    words = "data=./a.txt data.length=16 train.batch_size=1 train.steps=1 optimizer.lr=1e-3,1e-4"
    result = run(f"-m tiny {words} save=./runs/${{hydra:job.num}}")
    assert result.exit_code == 0, result.output
    header, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert header == ["#", "optimizer.lr", "step", "loss", "validation"]
    assert [row[1] for row in rows] == ["0.001", "0.0001"]
    assert Path("runs/1/model.safetensors").exists()


@pytest.mark.slow
def test_a_callback_of_yours_sees_each_record(run: Any) -> None:
    Path("mine.py").write_text("def seen(record, model):\n    open('seen', 'a').write(f\"{record['step']}\")\n")
    words = "tiny data=./a.txt data.length=16 train.steps=3 train.batch_size=1 save=./run"
    result = run(f"{words} train.callback=mine.py:seen")
    assert result.exit_code == 0, result.output
    assert Path("seen").read_text() == "123"


@pytest.mark.slow
@pytest.mark.parametrize("more", ["train.autocast=bfloat16", "dtype=bfloat16", "optimizer=sgd", "objective.chunk=8"])
def test_other_numbers_and_rules(run: Any, more: str) -> None:
    result = run(f"tiny data=./a.txt data.length=16 train.steps=2 train.batch_size=1 save=./run {more}")
    assert result.exit_code == 0, result.output
    found = {p.dtype for p in zoo.load("run").parameters()}
    assert found == {torch.bfloat16 if more.startswith("dtype") else torch.float32}
