"""A folder or file here that has the name of a preset: which is meant, and how to say the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import zoo
from tests.breaking import TINY, run
from zoo.errors import CheckpointError, UnknownName, ZooWarning
from zoo.presets.homes import home_of


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_folder_without_a_checkpoint_says_what_it_hides() -> None:
    Path("tiny").mkdir()
    told = run("inspect", "tiny").stderr
    assert "tiny: is a folder here, without a checkpoint, that hides the preset 'tiny'" in told
    assert "the preset 'tiny' is pkg://zoo/box/tiny; for the folder, name what is in it: ./tiny/..." in told
    assert run("inspect", "pkg://zoo/box/tiny").exit_code == 0
    Path("gpt2").mkdir()
    with pytest.raises(CheckpointError, match="the preset 'gpt2' is hf://openai-community/gpt2"):
        zoo.load("gpt2")


def test_a_folder_with_one_is_read_and_says_so() -> None:
    shutil.copytree(TINY, "gpt2")
    with pytest.warns(ZooWarning, match=r"gpt2 is what lies here .*\./gpt2\. The preset 'gpt2' is hf://openai-com"):
        assert zoo.load("gpt2").config.family == "llama"


@pytest.mark.slow
def test_where_the_preset_is_taken_it_says_so_and_numbers_are_never_of_one_beside_weights_of_the_other() -> None:
    shutil.copytree(TINY, "gpt2")
    told = "note: gpt2 is the preset here; the checkpoint that lies here is ./gpt2"
    shown = run("show", "gpt2")
    assert (shown.stderr.strip(), "124M" in shown.stdout) == (told, True)
    with pytest.warns(ZooWarning, match="gpt2 is the preset here"):
        found = zoo.compare("gpt2", TINY)
    assert [s.config.family for s in found.subjects] == ["gpt2", "llama"]
    with pytest.warns(ZooWarning, match="gpt2 is what lies here"):
        measured = zoo.compare("gpt2", TINY, text="sample")
    assert [s.config.family for s in measured.subjects] == ["llama", "llama"]


def test_a_mistyped_name_is_answered_with_what_lies_here_too() -> None:
    Path("my-model").mkdir()
    with pytest.raises(UnknownName, match="did you mean: my-model"):
        home_of("my-modle")
    Path("runs/final").mkdir(parents=True)
    told = run("inspect", "runs/finall").stderr
    assert "runs/finall: is not there\ndid you mean: runs/final?" in told
    assert "hf://" not in told
    assert "not in the cache" in run("inspect", "nobody/finall").stderr
