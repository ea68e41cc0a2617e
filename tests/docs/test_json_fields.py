"""What the reference says of `--json` is what the commands print."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import zoo
from tests.adapters.folders import write
from tests.embedding.folders import classifier
from tools.docs import commands
from tools.docs.json_fields import FIELDS, told
from zoo.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_jobs")]  # runs every command

WORDS = {  # what is typed, and for which of the forms
    "list": ["list tiny"],
    "show": ["show tiny", "show ./folder"],
    "plan": ["plan FLOPS=1e21"],
    "compare": ["compare gpt2 tiny", "compare tiny tiny --text ./text.txt"],
    "diff": ["diff tiny tiny"],
    "build": ["build tiny", "build -m tiny model.num_layers=1,2"],
    "inspect": ["inspect tiny", "inspect ./adapter --base tiny"],
    "convert": ["convert tiny ./out --dry-run", "convert --prove gpt2"],
    "quantize": ["quantize tiny ./out --to int8 --dry-run"],
    "push": ["push ./folder org/name --dry-run"],
    "verify": ["verify tiny --against tiny", "verify --golden gpt2"],
    "check-plugin": ["check-plugin gpt2 --group registry"],
    "doctor": ["doctor"],
    "generate": ["generate tiny -p x --tokens 2"],
    "tokenize": ["tokenize tiny -p x"],
    "embed": ["embed tiny --pooling mean -p x"],
    "classify": ["classify ./classes -p x"],
    "eval": ["eval tiny --text ./text.txt"],
    "bench": ["bench tiny prompt=4 new=2 repeats=1", "bench -m tiny prompt=4,5 new=2 repeats=1"],
    "train": [
        "train tiny data=./text.txt train.steps=1 train.batch_size=1 save=./run",
        "train -m tiny data=./text.txt train.steps=1 train.batch_size=1 seed=0,1 save=./run/${hydra:job.num}",
    ],
    "plugins": ["plugins"],
    "new-plugin": ["new-plugin mine"],
}
ALL = [(name, i, line) for name, lines in WORDS.items() for i, line in enumerate(lines)]


@pytest.mark.parametrize(("name", "form", "line"), ALL, ids=[line for _, _, line in ALL])
def test_json_has_the_documented_names(
    name: str, form: int, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("One day she was very happy.")
    if "./adapter" in line:
        write(tmp_path / "adapter")
    if "./folder" in line:
        zoo.convert("tiny", tmp_path / "folder", format="hf")
    if "./classes" in line:
        classifier(tmp_path / "classes", num_labels=2)
    done = CliRunner().invoke(main, [*shlex.split(line), "--json"])
    assert done.exit_code == 0, done.output
    _, is_list, names = FIELDS[name][form]
    found = json.loads(done.stdout)
    assert isinstance(found, list) is is_list
    assert list(found[0] if is_list else found) == names.split()


def test_every_command_that_prints_json_is_documented() -> None:
    having = {
        name
        for name, command in commands.commands().items()
        if any("--json" in p.opts for p in command.params if isinstance(p, click.Option))
    }
    assert having == set(FIELDS)
    assert set(FIELDS) - set(WORDS) == {"pull"}  # which needs the network: tests/cli/test_pull.py
    page = commands.page()
    assert all(told(name) in page for name in FIELDS)
