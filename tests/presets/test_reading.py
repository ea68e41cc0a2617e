"""A preset is read as YAML that has one meaning."""

from __future__ import annotations

import json

import pytest

from tests.distributions import good_plugin, install, zoo
from zoo.errors import ZooError
from zoo.presets import catalogue as presets
from zoo.presets.fields import too_much
from zoo.presets.file import merge, read, resolve
from zoo.presets.plain_yaml import MAX_BYTES, check
from zoo.registry import Preset, installed

HEAD = "# A model (a test)\ndefaults:\n  - /schema/good@_here_\n  - _self_\n"


@pytest.mark.slow
def test_presets_with_problems_leave_the_others_alone(tmp_path):
    bad = {
        "bomb": HEAD + "hub: &a [x, x]\nlicense: *a\n",
        "caller": HEAD + "hub:\n  _target_: os.system\n",
        "reader": HEAD + "hub: ${oc.env:HOME}\n",
        "tagged": HEAD + "hub: !!python/name:os.system\n",
        "wrong": HEAD + "num_layers: many\n",
        "typo": HEAD + "num_leyers: 3\n",
        "orphan": "defaults:\n  - nobody\n",
        "circle": "defaults:\n  - elcric\n",
        "elcric": "defaults:\n  - circle\n",
        "bare": "hub: x/y\n",
    }
    fine = {"fine": HEAD + "num_layers: 3\n", "finer": "# Finer (a test)\ndefaults:\n  - fine\nmax_seq_len: 9\n"}
    install(tmp_path, "zoo-good", {"good": "zoo_good"}, good_plugin("zoo_good", "good", bad | fine))
    done = zoo("list", "--json", site=tmp_path)
    found = {r["name"]: r for r in json.loads(done.stdout)}
    assert {name for name, r in found.items() if r["problem"]} == set(bad)
    assert (found["finer"]["num_layers"], found["finer"]["max_seq_len"]) == (3, 9)
    assert "line 5: an anchor or alias, which a preset may not have" in found["bomb"]["problem"]
    assert "did you mean" not in found["orphan"]["problem"]  # one line a preset
    assert "extend each other in a cycle: circle -> elcric -> circle" in found["circle"]["problem"]
    assert "model.num_layers='many' is not int" in found["wrong"]["problem"]
    assert "cannot be used: bare (zoo-good): " in done.stderr
    assert "model/bare.yaml: the preset names no family; " in done.stderr


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: &x 1", "an anchor or alias"),
        ("a: *x", "an anchor or alias"),
        ("a: !!str 1", "the tag tag:yaml.org,2002:str"),
        ("a: !thing {}", "the tag !thing"),
        ("a: ${b}", "an interpolation"),
        ("a: 'x${b}y'", "an interpolation"),
        ("${b}: 1", "an interpolation"),
        ("_target_: f", "_target_"),
        ("a: {b: {_target_: f}}", "_target_"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: " + "[" * 20 + "]" * 20, "more than 20 levels"),
        ("a: [" + "1," * 10_000 + "]", "more than 10000 entries"),
        ("a: " + "1" * MAX_BYTES, "are more than the 1048576 that a preset may have"),
        ("a: [", "not a YAML file"),
        ("\t", "not a YAML file"),
    ],
)
def test_yaml_that_a_preset_has_no_use_for_is_refused(text, found):
    with pytest.raises(ZooError, match=r"^some\.yaml: ") as caught:
        check(text.encode(), "some.yaml")
    assert found in caught.value.what


def test_a_file_at_the_limits_is_let_through():
    check(b"a: " + b"[" * 19 + b"]" * 19, "some.yaml")
    check(b"a: [" + b"1," * 9_997 + b"]", "some.yaml")
    check(b"a: costs $5", "some.yaml")


def test_every_preset_of_ours_would_pass_as_a_strangers():
    for preset in installed().presets().values():
        if preset.package == presets.OURS:
            check(preset.file.read_bytes(), str(preset.file))
            assert too_much(read(preset)) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e-5", 1e-5), ("a: 1.5E+3", 1500.0), ("a: 500000.0", 500000.0), ("a: .5e1", ".5e1"), ("a: 1e5x", "1e5x"),
        ("a: 1_0.5e1", 105.0), ("a: 1:30.5", 90.5), ("a: 2024-07-23", "2024-07-23"), ("a: null", None), ("a: on", True),
        ("a: [1, 2]", [1, 2]), ("a: '1e5'", "1e5"),
    ],
)  # fmt: skip
def test_yaml_is_read_as_omegaconf_reads_it(tmp_path, text, value):
    from omegaconf import OmegaConf

    (file := tmp_path / "some.yaml").write_text(text)
    assert read(Preset("some", "pkg", file, "dist")) == {"a": value} == OmegaConf.to_container(OmegaConf.load(file))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a: 1\na: 2", "line 2: the key 'a' is given twice"),
        (b"a: {b: 1, b: 2}", "the key 'b' is given twice"),
        (b"a: \xff", "UTF-8"),
        (b"a:\n  " + b"1" * 999, "line 2: a number of 999 characters"),
        (b"{[1]: 2}", "line 1: the key '[...]' is not a word"),
        (b"\n5: 1", "line 2: the key '5' is not a word"),
        (b"on: 1", "the key 'on' is not a word"),
        (b"a:\n  <<: 5", "line 2: the key '<<' is not a word"),
        (b"a: .nan", ".nan is not a finite number"),
        (b"a: 1e999", "1e999 is not a finite number"),
        (b"a: 0b_", "0b_ is not a finite number"),
        (b"a: =", "line 1: could not determine a constructor"),
        ("a: b".encode("utf-16"), "line 1: not a YAML file that can be read: UTF-16, not UTF-8"),
        (b"a: 1\nb: \x00", "line 2: not a YAML file that can be read: the character U+0000"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(tmp_path, data, why):
    (file := tmp_path / "some.yaml").write_bytes(data)
    with pytest.raises(ZooError, match=r"some\.yaml: (line \d+: )?not a YAML file that can be read") as caught:
        read(Preset("some", "pkg", file, "dist"))
    assert why in caught.value.what


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "null"])
def test_a_file_without_fields_is_no_preset(tmp_path, text):
    (file := tmp_path / "some.yaml").write_text(text)
    with pytest.raises(ZooError, match="not a group of fields"):
        read(Preset("some", "pkg", file, "dist"))


def test_groups_of_fields_are_merged_and_anything_else_is_replaced():
    old = {"rope": {"theta": 1.0, "factor": 2.0}, "eos": [1, 2], "kept": 1}
    assert merge(old, {"rope": {"factor": 4.0}, "eos": [3]}) == {
        "rope": {"theta": 1.0, "factor": 4.0}, "eos": [3], "kept": 1,
    }  # fmt: skip
    assert merge({"rope": {"theta": 1.0}}, {"rope": None}) == {"rope": None}
    assert old["rope"] == {"theta": 1.0, "factor": 2.0}


def test_self_stands_where_the_defaults_list_puts_it(tmp_path):
    texts = {
        "base": "defaults: [/schema/good@_here_, _self_]\na: 1\nb: 1\n",
        "over": "defaults: [base, _self_]\na: 2\n",
        "under": "defaults: [_self_, base]\na: 2\nc: 2\n",
        "unsaid": "defaults: [base]\na: 2\n",
        "absolute": "defaults: [/model/base@_here_]\n",
        "plain": "a: 1\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    known = {name: Preset(name, "pkg", tmp_path / f"{name}.yaml", "dist") for name in texts}
    assert resolve("over", known) == resolve("unsaid", known) == {"family": "good", "a": 2, "b": 1}
    assert resolve("under", known) == {"family": "good", "a": 1, "b": 1, "c": 2}
    assert resolve("absolute", known) == resolve("base", known)
    assert resolve("plain", known) == {"a": 1}


@pytest.mark.parametrize("entry", ["/rope/yarn", "rope: yarn", "override x: y", "1"])
def test_a_defaults_list_with_anything_else_is_refused(tmp_path, entry):
    (file := tmp_path / "some.yaml").write_text(f"defaults:\n  - {entry}\n")
    known = r"is neither /schema/FAMILY@_here_, another preset nor _self_|no model is called '1'"
    with pytest.raises(ZooError, match=known):
        resolve("some", {"some": Preset("some", "pkg", file, "dist")})
