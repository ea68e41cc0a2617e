"""Overrides as people type them: shorthands, wrong keys, and what is suggested instead."""

from __future__ import annotations

import pytest

from zoo.errors import UsageError
from zoo.presets.mistakes import nearest, suggest
from zoo.presets.overrides import config_class_of, expand, grammar, model_of

BUILD = grammar("build")


def error(*words: str) -> str:
    with pytest.raises(UsageError) as raised:
        expand(words, BUILD)
    return str(raised.value)


def test_grammar_is_read_from_the_primary_config():
    assert set(BUILD.keys) == {"device", "dtype", "seed", "save", "format", "hydra", "quantize"}
    assert BUILD.groups["rope"] == ("dynamic", "linear", "llama3", "longrope", "none", "yarn")
    assert "rope" in BUILD.defaults


def test_grammar_knows_the_groups_of_a_users_folder(tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "ring.yaml").touch()
    (tmp_path / "model").mkdir()
    known = grammar("build", folder=tmp_path)
    assert known.groups["memory"] == ("ring",)
    assert expand(["memory=ring"], known) == ["+memory=ring"]  # no defaults list names it


def test_a_bare_word_is_the_model():
    assert expand(["llama3", "model.num_layers=2"], BUILD) == ["model=llama3", "model.num_layers=2"]
    assert expand(["model.num_layers=2", "decoder/llama3"], BUILD) == ["model.num_layers=2", "model=decoder/llama3"]


@pytest.mark.parametrize(
    "word",
    [
        "model=llama3", "+model.rope.x=1", "++model.num_layers=2", "~model.rope", "rope=yarn", "device=cpu", "save=a=b",
        "hydra.sweep.dir=x", "hydra/launcher=joblib", "rope@model.encoder.rope=yarn", "model.eos_token_id=[1,2]",
    ],
)  # fmt: skip
def test_what_hydra_knows_reaches_it(word):
    (expanded,) = expand([word], BUILD)
    assert expanded.lstrip("+") == word.lstrip("+")


def test_a_plus_before_a_group_of_the_defaults_list_is_dropped():
    assert expand(["+rope=yarn"], BUILD) == ["rope=yarn"]


def test_null_is_no_model_and_no_group():
    assert expand(["model=null", "rope=null"], BUILD) == ["~rope"]


def test_a_group_alone_is_no_model():
    with pytest.raises(UsageError, match=r"which model\?"):
        expand(["rope=yarn"], BUILD, needs_model=True)


def test_a_number_can_be_asked_for_as_a_model():
    assert expand(["3"], BUILD) == ["model='3'"]  # Hydra would end in a ValueError of its own


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["modle=llama3"], "no key 'modle'\ndid you mean model=llama3?"),
        (["+modle=llama3"], "no key 'modle'\ndid you mean model=llama3?"),
        (["rope.factor=4"], "no key 'rope.factor'\ndid you mean model.rope.factor=4?"),
        (["modle.num_layers=4"], "no key 'modle.num_layers'\ndid you mean model.num_layers=4?"),
        (["llama3", "num_layers=4"], "no key 'num_layers'\ndid you mean model.num_layers=4?"),
        (["llama3", "rope_theta=4"], "no key 'rope_theta'\ndid you mean model.rope.theta=4?"),
        (["devise=cpu"], "no key 'devise'\ndid you mean device=cpu?"),
        (
            ["qqq=1"],
            "no key 'qqq'\nknown: attention, block, device, dtype, format, hydra, mlp, model, norm, position, "
            "quantize, rope, save, seed",
        ),
        (["=3"], "'=3' has no key\ntype: KEY=VALUE, for example model.num_layers=4"),
        (["model.num_layers"], "'model.num_layers' has no value\ntype: model.num_layers=VALUE"),
        (["rope"], "'rope' has no value\ntype: rope=VALUE"),
        (["llama3", "gpt2"], "two models: llama3 and gpt2\nto sweep over both: -m model=llama3,gpt2"),
        (["rope@x=yarn"], "'+rope@x=yarn' puts rope where it is not used\ntype: rope@model.PART=yarn"),
    ],
)
def test_wrong_words_are_told_what_to_type(words, expected):
    assert error(*words) == expected


def test_the_model_is_found_among_expanded_words():
    assert model_of(["device=cpu", "model='x'"]) == "x"
    assert model_of(["model=a,b"]) is None
    assert model_of([]) is None


def test_config_class_of_a_short_name_is_that_of_the_long_one():
    assert config_class_of("llama3").__name__ == "LlamaConfig"
    assert config_class_of("no such").__name__ == "ModelConfig"


def test_the_nearest_name_needs_the_fewest_changes():
    known = ["llama1", "llama2", "llama3", "llama3-8b", "llama3.1", "llama3.1-8b", "llama3.2", "gpt2"]
    assert nearest("lama3", known) == ["llama3", "llama2", "llama1"]
    assert nearest("llama-3.1-8b", known, 1) == ["llama3.1-8b"]
    assert suggest("zzzzzz", ["a", "b"]) == "known: a, b"


def test_a_name_that_was_not_typed_to_its_end_is_found_before_one_that_differs():
    known = ["llama1", "llama2", "llama4-scout", "llama4-maverick", "decoder/glm-130b", "glm-5.1"]
    assert nearest("llama4", known) == ["llama4-scout", "llama4-maverick", "llama2"]
    assert nearest("glm-130b", known, 1) == ["decoder/glm-130b"]
    assert nearest("gl", ["glm-5.1"]) == []  # two letters begin too much
