# ruff: noqa: E501 - each case is a line, to be read as one
"""Words on the command line made whole, and what is told of those that nothing reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.presets.test_fields import Odd
from zoo.errors import ConfigError, UnknownName, UsageError, ZooError
from zoo.presets import catalogue, homes, mistakes, plain_yaml
from zoo.presets import file as reading
from zoo.presets.overrides import Grammar, expand, model_of
from zoo.registry import Preset, installed


def refused(told: str, work: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


KNOWN = Grammar(("seed", "dtype"), {"rope": ("linear", "yarn"), "optim": ("adam",)}, frozenset(["optim"]))


@pytest.mark.parametrize(
    ("word", "whole"),
    [
        ("llama3", "model=llama3"), ("123", "model='123'"), ("model=12.5", "model='12.5'"), ("model=-1", "model='-1'"),
        ("model=true", "model='true'"), ("rope=false", "+rope='false'"), ("model.num_layers=4", "model.num_layers=4"),
        ("rope=yarn", "+rope=yarn"), ("+rope=yarn", "+rope=yarn"), ("++rope=yarn", "++rope=yarn"), ("+optim=adam", "optim=adam"),
        ("optim=adam", "optim=adam"), ("rope=null", "~rope"), ("~rope", "~rope"), ("seed=5", "seed=5"), (" seed =5", "seed=5"),
        ("rope@model.x=yarn", "+rope@model.x=yarn"), ("rope@a:model.x=yarn", "+rope@a:model.x=yarn"), ("model=a=b", "model=a=b"),
        ("+model.x=1", "+model.x=1"),
    ],
)  # fmt: skip
def test_a_word_is_made_whole(word: str, whole: str) -> None:
    assert expand([word], KNOWN) == [whole]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model"], "'model' has no value"), (["seed"], "'seed' has no value"), (["rope"], "'rope' has no value"),
        (["model.x"], "'model.x' has no value"), (["+x"], "'[+]x' has no value"), (["=5"], "'=5'"),
        (["rope@hydra=yarn"], "rope@hydra"), (["rope@model.a:hydra=yarn"], "rope@model.a"),
        (["rope.x=1"], "no key 'rope.x'"), (["sead=1"], "no key 'sead'(?s:.*)seed=1"), (["a", "b"], "two models: a and b"),
        (["model='a'", "b"], "two models: a and b"), (["zzzzzz=1"], "no key 'zzzzzz'(?s:.*)known: "),
        (["ropes=yarn"], "did you mean rope=yarn"),
    ],
)  # fmt: skip
def test_a_word_that_nothing_reads_is_told(words: list[str], told: str) -> None:
    refused(told, expand, words, KNOWN, config_class=Odd)


def test_a_field_is_meant_where_it_is_nearest() -> None:
    for word, meant in (("hiden=1", "model.hidden=1"), ("part.theta=2", "model.part.theta=2")):
        refused(f"did you mean {meant}", expand, [word], KNOWN, config_class=Odd)
    refused("which model", expand, ["seed=1"], KNOWN, needs_model=True)
    refused("which model", expand, ["model=null"], KNOWN, needs_model=True)
    assert expand(["model=null", "seed=1"], KNOWN) == ["seed=1"]
    assert expand(["a"], KNOWN, needs_model=True) == ["model=a"]


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (["seed=1"], None),
        (["model=a"], "a"),
        (["model='a'"], "a"),
        (['model="a"'], "a"),
        (["model=a,b"], None),
        (["model="], None),
    ],
)
def test_the_model_of_words(words: list[str], model: str | None) -> None:
    assert model_of(words) == model


def test_a_name_matches_a_pattern_or_holds_its_words() -> None:
    for pattern, is_matched in (
        (None, True), ("", True), ("lam", True), ("LAMA", True), ("lam*", False), ("*lam*", True), ("ll?ma3", True),
        ("[kl]lama3", True), ("llama", True), ("x", False), ("ll[x]ma3", False),
    ):  # fmt: skip
        assert catalogue.matches("Llama3", pattern) is is_matched, pattern


@pytest.mark.parametrize(
    ("count", "told"),
    [(2, "two values for a: add -m to build both"), (3, "three values for a: add -m to build all"), (6, "six values"),
     (7, "7 values"), (0, "a range of values for a: add -m to build all")],
)  # fmt: skip
def test_several_values_are_counted(count: int, told: str) -> None:
    assert told in mistakes.several_values("a", count).what


@pytest.mark.parametrize(
    ("override", "closes"),
    [("a=[1", False), ("a={1", False), ("a=(1", False), ("a=[1]", True), ("a=]", True), ("a=[(])", True)],
)
def test_a_bracket_that_is_not_closed_is_told(override: str, closes: bool) -> None:
    told = mistakes.unreadable(override, "odd")
    assert (told.why == "odd") is closes
    assert bool(told.hint) is closes


def test_a_mistake_is_met_with_what_is_near_or_known() -> None:
    assert mistakes.suggest("yarm", ["yarn", "linear"]) == "did you mean: yarn?"
    assert mistakes.suggest("yarm", ["yara", "yarb", "yarc", "yard"]).count(",") == 2
    assert mistakes.suggest("yarm", ["yarn", "barn"], 1, "p.") == "did you mean: p.yarn?"
    assert "p.one" in mistakes.suggest("zzzzzz", ["one", "two"], 1, "p.")
    assert "'a.kex' is not a field of Owner (did you mean key?)" in mistakes.no_field(
        "a", "kex", ["other", "key"], "Owner"
    )
    assert "known: key, other" in mistakes.no_field("a", "zzzzzz", ["other", "key"], "Owner")
    assert mistakes.no_key("", "x", ["xy"]).what == "no key 'x'"
    assert mistakes.no_key("a", "x", ["xy"], where="here").hint == "here"
    assert (mistakes.bad_value("s", "a.b", "").why, mistakes.bad_value("s", "a.b", "doc", where="w").why) == (
        "a.b",
        "a.b: doc",
    )
    for name, is_place in (("./x", True), ("/x", True), ("~/x", True), ("hf://a/b", True), ("x.gguf", True),
                           ("x.safetensors", True), ("x", False)):  # fmt: skip
        assert bool(mistakes.no_config(name, "model", ["y"]).hint) is is_place
        assert not mistakes.no_config(name, "rope", ["y"]).hint


def test_the_home_of_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llama3").touch()
    for same in (Path("tiny"), "a/b", "x.gguf", "x.safetensors", "x.bin"):
        assert homes.home_of(same) == same
    assert homes.home_of("tiny") == "pkg://zoo/box/tiny"
    assert homes.home_of("gpt2") == catalogue.config("gpt2").hub
    with pytest.raises(UnknownName, match="neither a folder, a file nor a preset"):
        homes.home_of("gpt2x")
    monkeypatch.setattr(homes, "config", lambda name: Odd(hidden=1))
    with pytest.raises(UsageError, match=r"'gpt2' .*weights"):
        homes.home_of("gpt2")


def test_the_index_is_believed_if_it_is_of_these_files(monkeypatch: pytest.MonkeyPatch) -> None:
    presets = installed().presets()
    assert set(catalogue.read_index(presets)) == {name for name, p in presets.items() if p.package == "zoo.conf"}
    assert catalogue.read_index(dict([*presets.items()][1:])) == {}
    row = catalogue.record(presets["gpt2"], presets)
    assert (row.family, row.attention, row.position, row.problem) == ("gpt2", "MHA 12", "learned 1024", "")
    assert catalogue.config("gpt2").family == "gpt2"
    assert plain_yaml.MAX_ENTRIES == 10_000
    other = Preset("o", "zoo.conf", Path("nothing.yaml"), "d")
    values = {"gpt2": {"family": "gpt2", "defaults": ["o"]}, "o": {"family": "o"}}
    monkeypatch.setattr(reading, "_read", lambda preset: (dict(values[preset.name]), 0))
    with pytest.raises(ConfigError, match="two families"):
        catalogue.tree("gpt2", {"gpt2": presets["gpt2"], "o": other}, dict)
