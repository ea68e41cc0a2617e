# ruff: noqa: E501 - each case is a line, to be read as one
"""Presets, options and overrides at each limit and beyond it; what Hydra finds of a folder; what is told of mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra.core.object_type import ObjectType

from zoo.anatomy.config import MISSING, ModelConfig
from zoo.errors import ConfigError, UnknownName, UsageError, ZooError
from zoo.presets import catalogue, homes, hydra_source, mistakes, overrides, plain_yaml
from zoo.presets import file as reading
from zoo.presets.fields import hold, missing, too_much
from zoo.presets.file import merge, option, parts, resolve
from zoo.presets.hydra_source import CheckedPresets, ZooSearchPath, serving
from zoo.presets.overrides import Grammar, expand, model_of
from zoo.presets.plain_yaml import check, directives, load, text_of
from zoo.registry import Preset, installed


def refused(told: str, work: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


# Fields.


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("num_layers", 500), ("num_encoder_layers", 500), ("num_heads", 1 << 16), ("experts_per_token", 1 << 16),
        ("head_dim", 1 << 16), ("q_lora_rank", 1 << 16), ("image_size", 1 << 16), ("window_size", 1 << 16),
        ("patch_size", 1 << 10), ("spatial_merge_size", 1 << 10), ("vocab_size", 1 << 22), ("hidden_size", 1 << 22),
        ("max_seq_len", 1 << 30), ("theta", 1 << 30),
    ],
)  # fmt: skip
def test_a_number_that_would_be_counted_for_ever_is_found_by_its_field(name: str, most: int) -> None:
    assert too_much({name: most}) == ""
    assert too_much({name: most + 1}) == f"{name}={most + 1}, more than {most:,}"
    assert too_much({"a": {"b": {name: most + 1}}, "c": {}}).startswith(f"a.b.{name}=")
    assert too_much({"c": {"x": 1}, name: float(most * 2)}) == ""


def test_a_list_has_so_many_values() -> None:
    assert too_much({"a": [0] * 1000}) == ""
    assert "a.b with more than 1,000" in too_much({"a": {"b": [0] * 1001}})


@dataclass
class Part:
    size: int = MISSING
    theta: float = 1.0


@dataclass
class Odd(ModelConfig):
    hidden: int = MISSING
    part: Part = field(default_factory=Part)
    maybe: Part | None = None
    names: list[str] = field(default_factory=list)
    note: str = "x"


FILE: Any = "f.yaml"


@pytest.mark.parametrize(
    "values",
    [
        {"hidden": 1},
        {"part": {"size": 1}},
        {"maybe": None},
        {"maybe": {"theta": 1}},
        {"names": ["a"]},
        {"hub": "a"},
        {"hub": "a-1/b.c_d"},
        {"hub": ""},
    ],
)
def test_values_of_their_fields_are_held(values: dict[str, Any]) -> None:
    hold(values, Odd, FILE)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hiden": 1}, r"no key 'model.hiden'(?s:.*)model.hidden"),
        ({"part": {"sise": 1}}, r"no key 'model.part.sise'(?s:.*)model.part.size"),
        ({"hidden": "a"}, "f.yaml: model.hidden"),
        ({"part": None}, "f.yaml: model.part"),
        ({"part": {"theta": "a"}}, "f.yaml: model.part.theta"),
        ({"maybe": 5}, "f.yaml: model.maybe"),
        ({"names": [5]}, "f.yaml: model.names"),
        ({"hub": "a/b/c"}, "model.hub='a/b/c' is no repository"),
        ({"hub": "../a"}, "is no repository"),
    ],
)
def test_values_of_other_fields_or_types_are_refused(values: dict[str, Any], told: str) -> None:
    refused(told, hold, values, Odd, FILE)


def test_fields_without_a_value_are_found() -> None:
    given = {"family": "odd"}
    assert missing(Odd, given) == ["model.hidden"]
    assert missing(Odd, given | {"hidden": 1, "part": {"theta": 1.0}}) == ["model.part.size"]
    assert missing(Odd, given | {"hidden": 1, "part": {"size": 1}, "maybe": {}}) == ["model.maybe.size"]
    assert missing(Odd, given | {"hidden": MISSING, "note": MISSING}, "m") == ["m.hidden", "m.note"]
    assert missing(Odd, given | {"hidden": 1, "note": ""}) == []


# YAML.


def nested(depth: int) -> str:
    return "".join("  " * i + f"k{i}:\n" for i in range(depth - 1)) + "  " * (depth - 1) + "x: 1\n"


@pytest.mark.parametrize(
    ("read", "beyond"),
    [
        ("x: 1\n" + "\n" * 19_999, "x: 1\n" + "\n" * 20_000),
        ("x: 1\n" + "\r" * 19_999, "x: 1\n" + "\r" * 20_000),
        ("#" + "x" * ((1 << 20) - 1), "#" + "x" * (1 << 20)),
        (nested(20), nested(21)),
        ("x: [" + "1," * 9_996 + "1]", "x: [" + "1," * 9_997 + "1]"),
        ("x: " + "a" * 1000, "x: " + "a" * 1001),
        ("x: $a", "x: ${a}"),
        ("x: target", "x: _target_"),
        ("x: a", "_target_: a"),
        ("x: a", "x: &a b"),
        ("x: a", "x: !!str a"),
        ("x: a", "x: a\n---\ny: b"),
        ("x: |\n  a\n  b", 'x: "\\x07"'),
        ("x: 'é'", "x: '\x1b'"),
    ],
)
def test_yaml_at_a_limit_is_read_and_beyond_refused(read: str, beyond: str) -> None:
    check(read.encode(), "f")
    refused("f: ", check, beyond.encode(), "f")


def test_entries_are_counted() -> None:
    assert check(b"x: 1\ny: [1, 2]\n", "f") == 7  # the whole, two keys, a number, a list and its two
    for text, line in (("a: 1\nb: ${x}", 2), ("\n\nb: &a x", 3)):
        refused(f"f: line {line}: ", check, text.encode(), "f")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1_000", 1000), ("0x1F", 31), ("2001-01-01", "2001-01-01"), ("-1.5", -1.5), ("1" * 40, int("1" * 40)),
        ("1" * 41, "number of 41"), (".inf", "not a finite"), ("-.inf", "not a finite"), (".nan", "not a finite"),
        ("1e999", "not a finite"), ("0b_", "not a finite"), ("on", True), ("~", None), ("1e5", 1e5), ("1_0e1", 100.0),
    ],
)  # fmt: skip
def test_a_value_is_a_finite_number_or_what_omegaconf_reads(text: str, value: Any) -> None:
    if isinstance(value, str) and value != text:
        refused(f"line 1: .*{value}", load, f"x: {text}".encode(), "f")
    else:
        found = load(f"x: {text}".encode(), "f")["x"]
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x: 1\nx: 2", "line 2: the key 'x' is given twice"),
        ("1: 2", "line 1: the key '1' is not a word"),
        ("[a]: 2", "is not a word"),
        ("- a", "not a group of fields"),
        ("", "not a group of fields"),
        ("x: [", "line 2"),
        ("x: {a: 1, a: 2}", "the key 'a' is given twice"),
    ],
)
def test_keys_are_words_given_once(text: str, told: str) -> None:
    refused(f"^f: .*{told}", load, text.encode(), "f")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"x: 1\ny: \xff", "line 2: .*the byte 0xff"),
        ("x: 1".encode("utf-16"), "UTF-16"),
        (b"\xfe\xff\0x", "UTF-16"),
        (b"x: 1\ny: \x7f", "line 2: .*U[+]007F"),
        ("\ud800".encode("utf-8", "surrogatepass"), "line 1"),
    ],
)
def test_a_text_is_utf8_with_characters_of_yaml(data: bytes, told: str) -> None:
    assert text_of("\ufeffé\x85\U0001f600".encode(), "f") == "é\x85\U0001f600"
    refused(told, text_of, data, "f")


def test_directives_stand_before_all_else() -> None:
    text = "\n# @package model\n  #  @other  x y\n\nx: 1\n# @package late"
    assert list(directives(text)) == [(2, "@package model"), (3, "@other  x y")]
    assert list(directives("# words\n# @package x")) == []


# Presets of files.


class Files:
    """Presets and options of a package in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def __call__(self, text: str, name: str = "a", group: str = "model", package: str = "p") -> Preset:
        self.count += 1
        file = self.folder / f"{self.count}.yaml"
        file.write_text(text)
        return Preset(name, package, file, "d", group)


@pytest.fixture
def made(tmp_path: Path) -> Files:
    return Files(tmp_path)


def of(*presets: Preset) -> dict[str, Preset]:
    return {p.name if p.group == "model" else f"{p.group}/{p.name}": p for p in presets}


def test_what_is_extended_lies_beneath_or_above_as_the_list_says(made: Files) -> None:
    base = made("defaults: [/schema/llama@_here_]\nx: 1\ny: {a: 1, b: 2}", "base")
    for entries, x in (("[base]", 2), ("[_self_, base]", 1), ("[base, _self_]", 2), ("[/model/base@_here_]", 2)):
        found = resolve("a", of(base, made(f"defaults: {entries}\nx: 2\ny: {{b: 3}}")))
        assert (found["x"], found["y"]["a"], found["family"]) == (x, 1, "llama")
    assert merge({"a": {"b": 1}, "c": {"d": 1}}, {"a": {"e": 2}, "c": 3}) == {"a": {"b": 1, "e": 2}, "c": 3}
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("defaults: [a]", "a -> a"),
        ("defaults: [b]", "no config 'b' in group 'model'"),
        ("defaults: x", "its defaults are not a list"),
        ("defaults: [_self_, _self_]", "_self_ is named twice"),
        ("defaults: [/schema/llama@_here_, /schema/llama@_here_]", "the family of a preset is named twice"),
        ("defaults: [base, base]", "is named twice"),
        ("defaults: [5]", "5 is neither"),
        ("defaults: [{a: b, c: d}]", "is neither"),
        ("defaults: [{rope: yarn}]", "is neither"),
        ("defaults: [{/rope: 5}]", "is neither"),
        ("defaults: [{/rope: yarn, /x: y}]", "is neither"),
        ("defaults: [base@model]", "is neither"),
        ("defaults: [/schema/llama@model]", "is neither"),
        ("defaults: [{/rope@model.attn: yarn}]", "is neither"),
        ("# @package model.x\nx: 1", "line 1: @package model.x; expected none"),
        ("# @package model\n# @package model\nx: 1", "line 2: a second @package"),
        ("num_layers: 501", "num_layers=501"),
        ("x: ${y}", "an interpolation"),
    ],
)
def test_a_defaults_list_names_what_it_may(made: Files, text: str, told: str) -> None:
    rope = made("# @package model.rope\nx: 1", "yarn", "rope")
    refused(told, resolve, "a", of(made("x: 1", "base"), made(text)), lambda: of(rope))


def test_options_of_groups_stand_where_their_head_says(made: Files) -> None:
    rope = made("# @package model.attn.rope\ntheta: 1", "yarn", "rope")
    for entry in ("{/rope: yarn}", "{/rope@attn.rope: yarn}", "/rope/yarn"):
        assert resolve("a", of(made(f"defaults: [{entry}]\nx: 1")), lambda: of(rope)) == {
            "attn": {"rope": {"theta": 1}},
            "x": 1,
        }
    assert option("rope/yarn", of(rope)) == ("model.attn.rope", {"theta": 1})
    ours = made("# @package model.rope\n", "o", "rope", "zoo.conf")
    for head in ("", "# @package model.rope\n"):
        theirs = made(f"{head}theta: 1", "yarn", "rope")
        assert option("rope/yarn", of(ours, theirs)) == ("model.rope", {"theta": 1})
    refused("expected # @package model.rope", option, "rope/yarn", of(ours, rope))
    for head, told in (("", "expected # @package model"), ("# @package hydra\n", "line 1: @package hydra")):
        refused(told, option, "x/yarn", of(made(f"{head}a: 1", "yarn", "x")))
    assert option("x/yarn", of(made("# @package model\na: 1", "yarn", "x"))) == ("model", {"a": 1})


def test_a_folder_of_ones_own_is_told_of_the_way_to_more(made: Files) -> None:
    for package, hints in (("", True), ("p", False)):
        with pytest.raises(ZooError) as caught:
            resolve("a", of(made("# @package hydra\nx: 1", package=package)))
        assert ("--trust-config-dir" in caught.value.hint) is hints


def test_so_many_files_and_entries_make_a_preset_at_most(made: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    presets = of(made("x0: 1", "0"), *(made(f"defaults: ['{i - 1}']\nx{i}: 1", str(i)) for i in range(1, 9)))
    assert len(parts("7", presets)) == 8
    refused("more than 8 presets", parts, "8", presets)
    two = of(made("x: 1", "b"), made("defaults: [b]\ny: 1"))
    monkeypatch.setattr(reading, "MAX_ENTRIES", 3 + 6)
    assert resolve("a", two) == {"x": 1, "y": 1}
    monkeypatch.setattr(reading, "MAX_ENTRIES", 3 + 5)
    refused("more than 8 entries in all", resolve, "a", two)


# What Hydra finds.


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name, text in {
        "model/mine.yaml": "defaults: [/schema/llama@_here_]\nnum_layers: 3",
        "model/sub/deep.yaml": "defaults: [mine]\nnum_layers: 4",
        "rope/mine.yaml": "# @package model.rope\ntheta: 5.0",
        "extra/one.yaml": "# @package model\nnum_layers: 2",
        "model/bad name!.yaml": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_hydra_is_given_the_presets_of_a_folder_as_data(own: Path) -> None:
    source = CheckedPresets("x", f"zoo://{own}")
    everything, groups, configs = None, ObjectType.GROUP, ObjectType.CONFIG
    assert source.list("", everything) == source.list("", groups) == ["extra", "model", "rope"]
    assert source.list("", configs) == []
    assert source.list("model", everything) == ["mine", "sub"]
    assert (source.list("model/", groups), source.list("/model", configs)) == (["sub"], ["mine"])
    assert source.list("model/sub", everything) == ["deep"]
    assert [source.is_group(path) for path in ("", "model", "model/sub/", "mod", "model/mine")] == [True] * 3 + [
        False
    ] * 2
    assert [source.is_config(path) for path in ("model/mine.yaml", "model/mine", "model", "mine")] == [True] * 2 + [
        False
    ] * 2
    assert (source.available(), source.scheme(), source.provider) == (True, "zoo", "x")
    found = source.load_config("model/sub/deep.yaml")
    assert found.config == {"defaults": ["/schema/llama@_here_", "_self_"], "num_layers": 4}
    assert (found.header, found.provider) == ({"package": "model"}, "x")
    for key, package, values in (
        ("rope/mine", "model.rope", {"theta": 5.0}),
        ("extra/one", "model", {"num_layers": 2}),
    ):
        found = source.load_config(key)
        assert (found.config, found.header) == (values, {"package": package})
    windows = CheckedPresets("x", "zoo://a\\b")
    assert windows.list("", everything) == []
    ours = CheckedPresets("x", "zoo://zoo.conf")
    assert "llama3" in ours.list("model", everything)
    assert CheckedPresets("x", "zoo://nobody").list("", everything) == []


class SearchPath:
    def __init__(self, *paths: str) -> None:
        self.paths, self.added = paths, []

    def get_path(self) -> list[Any]:
        return [type("Entry", (), {"path": path}) for path in self.paths]

    def append(self, provider: str, path: str) -> None:
        self.added.append((provider, path))


def test_only_zoos_own_commands_are_given_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"zoo.conf": "zoo-lm", "their.conf": "zoo-theirs"}
    monkeypatch.setattr(hydra_source, "installed", lambda: type("R", (), {"config_packages": packages}))
    for paths, folder, added in (
        (("file:///x",), tmp_path, []),
        (("file:///x", "pkg://zoo.conf"), None, [("zoo-theirs", "zoo://their.conf")]),
        (("pkg://zoo.conf",), tmp_path, [("zoo-theirs", "zoo://their.conf"), ("command-line", f"zoo://{tmp_path}")]),
    ):
        search = SearchPath(*paths)
        with serving(folder):
            ZooSearchPath().manipulate_search_path(search)  # type: ignore[arg-type]  # a stand-in
        assert search.added == added
    search = SearchPath("pkg://zoo.conf")
    ZooSearchPath().manipulate_search_path(search)  # type: ignore[arg-type]  # a stand-in
    assert search.added == [("zoo-theirs", "zoo://their.conf")]  # the folder is let go of afterwards


# Words on the command line.

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


def test_strangers_presets_are_read_before_hydra_reads_them(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "model" / "evil.yaml").write_text("x: ${y}")
    (own / "rope" / "evil.yaml").write_text("# @package hydra\nx: 1")
    for word in (
        "model=mine",
        "+rope=mine",
        "rope=mine",
        "rope=nothing",
        "model=nothing",
        "rope@model.x='mine'",
        "model=llama3",
    ):
        overrides.vet([word], own)
    for word in (
        "model=evil",
        "model=mine,evil",
        "+rope=evil",
        "rope@model.x='evil'",
        'model="evil"',
        "model=mine, evil",
    ):
        refused("evil.yaml", overrides.vet, [word], own)
    overrides.vet(["model=evil"])  # which is none of the installed ones


# Names, and words about mistakes.


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
    for same in (Path("tiny"), "a/b", "llama3", "x.gguf", "x.safetensors", "x.bin"):
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
