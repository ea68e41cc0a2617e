"""`zoo bench`: what users see, on mistakes and otherwise. Nothing is timed here."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner, Result

from zoo.cli import main

jobs = pytest.mark.usefixtures("quick_jobs")

SMALL = "model.num_layers=1 model.vocab_size=64 model.hidden_size=24 model.intermediate_size=32 model.num_heads=3"
SMALL += " model.num_kv_heads=1 model.head_dim=8 model.bos_token_id=null model.eos_token_id=[]"

MISTAKES = [
    ("", "which model?\ntype a folder, a file or a name, for example: zoo bench tiny"),
    ("llama3 model.hiden_size=3", "no key 'model.hiden_size'\ndid you mean: model.hidden_size?"),
    ("llama3 +model.hiden_size=3", "'model.hiden_size' is not a field of LlamaConfig (did you mean hidden_size?)"),
    ("llama3 promt=3", "no key 'promt'\ndid you mean prompt=3?"),
    ("llama3 gpt2", "two models: llama3 and gpt2\nto run both: -m source=llama3,gpt2"),
    (
        "./folder model.num_layers=2",
        "./folder: model.num_layers=2 is for a preset, but this is a checkpoint\nsee: zoo list",
    ),
    ("llama3,./folder -m", "llama3,./folder contains both checkpoints and presets\nrun them one after the other"),
    ("llama3 --against vllm", "against='vllm' is not known\none of transformers"),
    ("llama3 --prompt 0", "prompt=0 is not at least 1"),
    ("llama3 --repeats 0", "repeats=0 is not at least 1"),
    ("llama3 prompt=few", "prompt='few' is not int"),
    ("llama3 prompt=1,2", "two values for prompt: add -m to build both"),
]  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda words: CliRunner().invoke(main, ["bench", *words.split()])


CHEAP = {"llama3 gpt2", "./folder model.num_layers=2", "llama3,./folder -m", "llama3 --against vllm"}


@pytest.mark.parametrize(
    ("typed", "printed"),
    [pytest.param(*row, id=row[0], marks=[] if row[0] in CHEAP else pytest.mark.slow) for row in MISTAKES],
)
def test_a_mistake_prints_these_lines_and_no_traceback(run, typed: str, printed: str) -> None:
    result: Result = run(typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {printed}\n"


@pytest.mark.slow
@jobs
def test_a_preset_runs_with_random_weights_and_says_so(run) -> None:
    result = run(f"llama3 {SMALL} --prompt 4 --new 2 --repeats 2")
    assert result.exit_code == 0, result.stderr
    assert "random weights, seed 0" in result.stderr
    assert "(= formula)" in result.stdout
    assert os.listdir() == []


@pytest.mark.slow
@jobs
def test_json_holds_every_run_with_machine_versions_and_commit(run) -> None:
    told = json.loads(run("tiny --prompt 8 --new 2 --repeats 2 --json").stdout)
    assert (told["model"], told["weights"], told["is_random"]) == ("tiny", "tiny", False)
    (model,) = told["models"]
    assert len(model["runs"]) == 2
    assert model["memory"]["how"]
    assert {"zoo", "torch", "commit", "processor", "threads"} <= set(told["environment"])


@pytest.mark.slow
@jobs
def test_a_sweep_prints_a_line_for_each_and_tells_which_failed(run) -> None:
    result = run(f"-m llama3 {SMALL} prompt=2,9000 new=2 repeats=1")
    assert result.exit_code == 2
    header, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert header[:4] == ["#", "prompt", "params", "prefill tok/s"]
    assert rows[0][:2] == ["0", "2"]
    assert float(rows[0][3]) > 0
    assert rows[1] == ["1", "9000", *[""] * 7]
    assert "error: job 1: prompt 9000 + new 2 = 9002 tokens, more than model.max_seq_len=8192" in result.stderr
