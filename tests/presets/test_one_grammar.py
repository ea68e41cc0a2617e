"""Overrides of a checkpoint are read as those of a preset: one grammar, whatever is opened."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

import zoo
from zoo.cli import main
from zoo.errors import ConfigError, UsageError
from zoo.presets import config
from zoo.presets.composition import compose, override
from zoo.registry import installed

WORDS = [
    "model.rope.theta=1e6", "model.norm_eps=1e-2", "model.eos_token_id=[1, 2]", "model.bos_token_id=null", "rope=yarn",
    "++model.rope.factor=1_0.5", "model.license='a, b: c'", "model.source=a b", "model.gated=TRUE", "model.hub=1e6x",
    "model.max_seq_len=${model.vocab_size}", "model.rope.long_factor=[1.5,2e0]",
    "model.rope.original_max_seq_len=64",
]  # fmt: skip


@pytest.mark.slow
def test_a_checkpoint_and_a_preset_read_the_same_words_as_the_same_values() -> None:
    given = override(config("tiny"), *WORDS)
    assert given == compose("tiny", *WORDS)
    told = given.to_dict()
    assert (told["rope"]["theta"], told["rope"]["factor"], told["rope"]["scaling"]) == (1_000_000.0, 10.5, "yarn")
    assert (told["eos_token_id"], told["bos_token_id"], told["gated"]) == ([1, 2], None, True)
    assert (told["license"], told["source"], told["hub"]) == ("a, b: c", "a b", "1e6x")
    assert told["max_seq_len"] == told["vocab_size"]


@pytest.mark.slow
def test_no_override_of_another_field_changes_a_value_that_any_family_has() -> None:
    for family in installed().families.values():
        tiny = family.config_class.tiny()
        assert override(tiny, "model.license=x") == replace(tiny, license="x")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model.rope.theeta=1", "no key 'model.rope.theeta'\ndid you mean: model.rope.theta?"),
        ("num_layers=3", "no key 'num_layers'\ndid you mean model.num_layers=3?"),
        ("+model.x=3", "'model.x' is not a field of LlamaConfig"),
        ("gpt2", "'model=gpt2' names another model\ntype: model.FIELD=VALUE"),
        ("+model=gpt2", "names another model"),
        ("model.num_layers=1,2", "several values for model.num_layers\na checkpoint is read with one value"),
        ("model.num_layers=range(1,3)", "several values for model.num_layers"),
        ("model.num_layers=x", "could not be converted to Integer\nmodel.num_layers: "),
        ("model.eos_token_id=[1", "cannot read 'model.eos_token_id=[1'\na bracket is not closed"),
        ("device=cpu", "no key 'device'"),
        ("hydra.run.dir=x", "no key 'hydra.run.dir'"),
    ],
)
def test_a_mistake_is_told_as_it_is_for_a_preset(word: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        override(config("tiny"), word)
    assert told in str(raised.value)


def test_what_a_checkpoint_says_is_never_looked_up() -> None:
    sly = replace(config("tiny"), license="${oc.env:HOME}")
    with pytest.raises(ConfigError, match=r"model.license='\$\{oc.env:HOME\}' is in the checkpoint"):
        override(sly, "model.num_layers=2")


@pytest.mark.slow
def test_every_command_that_opens_a_checkpoint_takes_what_build_takes() -> None:
    for words in (
        ["inspect", "tiny"],
        ["convert", "tiny", "out", "--dry-run"],
        ["generate", "tiny", "-p", "She", "--tokens=1"],
    ):
        done = CliRunner().invoke(main, [*words, "model.rope.theta=1e6", "rope=linear"])
        assert done.exit_code == 0, (words, done.output)
    told = json.loads(CliRunner().invoke(main, ["inspect", "tiny", "model.rope.theta=1e6", "--json"]).stdout)
    assert told["config"]["rope"]["theta"] == 1e6
    assert zoo.load("tiny", "model.rope.theta=1e6").config.rope.theta == 1e6
    compared = CliRunner().invoke(main, ["compare", "tiny", "tiny model.rope.theta=1e6", "--json"])
    assert compared.exit_code == 0
    assert "is neither family=NAME nor model.FIELD=VALUE" in CliRunner().invoke(main, ["inspect", "tiny", "x=1"]).stderr


def test_a_checkpoint_without_overrides_is_read_without_hydra() -> None:
    code = "import sys, zoo; zoo.inspect('tiny'); print(sorted({'hydra', 'omegaconf', 'torch'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
