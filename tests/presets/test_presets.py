"""Presets read without Hydra are those that Hydra composes; a stranger's file is refused before it can do harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.distributions import good_plugin, install, python, zoo
from tests.some import some
from zoo.errors import ConfigError, UnknownName, ZooError
from zoo.presets import catalogue as presets
from zoo.presets.composition import compose
from zoo.presets.fields import too_much
from zoo.presets.file import merge, read, resolve
from zoo.presets.plain_yaml import MAX_BYTES, check
from zoo.registry import Preset, installed

PRESETS = sorted(installed().presets())

PUBLISHED = {  # parameters, as the hub's own count of each repository's weights
    "llama1-7b": 6_738_415_616,
    "llama1-13b": 13_015_864_320,
    "llama1-30b": 32_528_943_616,
    "llama1-65b": 65_285_660_672,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "llama3.1-8b": 8_030_261_248,
    "llama3.1-70b": 70_553_706_496,
    "llama3.1-405b": 405_853_388_800,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "tinyllama-1.1b": 1_100_048_384,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
}
SHORT = {
    "llama1": "llama1-7b",
    "llama2": "llama2-7b",
    "llama3": "llama3-8b",
    "llama3.1": "llama3.1-8b",
    "llama3.2": "llama3.2-3b",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_the_config_that_hydra_composes(name):
    assert presets.config(name) == compose(name)


@pytest.mark.slow
def test_every_preset_of_a_real_plugin_is_the_config_that_hydra_composes(tmp_path):
    source = Path(__file__).parents[1] / "plugin" / "zoo-mamba2" / "src" / "zoo_mamba2"
    files = {
        f"zoo_mamba2/{f.relative_to(source)}": f.read_text() for f in source.rglob("*") if f.suffix in (".py", ".yaml")
    }
    install(tmp_path, "zoo-mamba2", {"mamba2": "zoo_mamba2"}, files)
    code = """if True:
        from zoo.presets.composition import compose
        from zoo.presets import config
        from zoo.registry import installed
        names = [p.name for p in installed().presets().values() if p.plugin == "zoo-mamba2"]
        print(len(names), [name for name in names if compose(name) != config(name)])
    """
    assert python(code, site=tmp_path).stdout == "6 []\n"


@pytest.mark.parametrize("name", some(PRESETS, "tiny", "llama3", "gemma3-4b", "deepseek-v3", "clip-vit-b32", "t5-base"))
def test_every_preset_says_what_it_is(name):
    preset = installed().presets()[name]
    record = presets.record(preset, installed().presets())
    assert record.problem == ""
    assert record.description.endswith(")") or ": short for " in record.description
    assert record.parameters
    assert presets.config(name).license


def test_the_index_of_our_presets_is_current():
    stored = json.loads((Path(__file__).parents[2] / "conf" / presets.INDEX).read_bytes())
    made = presets.make_index(installed().presets())
    assert stored["models"] == made["models"], "run tools/index_presets.py"
    assert stored == made, "run tools/index_presets.py"


def test_a_stale_index_is_not_believed():
    mine = dict(installed().presets())
    assert presets.read_index(mine)
    del mine["llama3"]
    assert presets.read_index(mine) == {}


@pytest.mark.parametrize("name", PUBLISHED)
def test_llamas_have_the_published_number_of_parameters(name):
    (record,) = (r for r in presets.list_models(name) if r.name == name)
    assert record.parameters == PUBLISHED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_llamas_have_the_parameters_of_transformers(name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="transformers, the reference, is not installed")
    config = presets.config(name)
    theirs = transformers.LlamaConfig(**installed()["llama"].dialect("hf").to_config(config))
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(theirs)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]
    assert config.num_heads * config.head_dim == config.hidden_size  # none of these has heads of another width


@pytest.mark.parametrize("short", SHORT)
def test_short_names_are_the_usual_size(short):
    assert presets.config(short) == presets.config(SHORT[short])


def test_list_models_takes_patterns_parts_and_families():
    def names(*args, **kwargs):
        return [r.name for r in presets.list_models(*args, **kwargs)]

    assert names("llama3.2-?b") == ["llama3.2-1b", "llama3.2-3b"]
    assert names("SMOL") == ["smollm2-135m", "smollm2-360m", "smollm2-1.7b", "smollm3-3b"]
    assert names("no such model") == []
    assert {r.family for r in presets.list_models(family="llama")} == {"llama"}
    with pytest.raises(UnknownName, match="did you mean: llama"):
        presets.list_models(family="lama")


def test_a_record_tells_what_is_known_without_torch():
    (record,) = presets.list_models("llama3.1-70b")
    assert record == presets.ModelRecord(
        name="llama3.1-70b",
        family="llama",
        description="Llama 3.1 70B (Meta, July 2024)",
        parameters=70_553_706_496,
        num_layers=80,
        attention="GQA 64/8",
        position="RoPE 500k llama3 ×8",
        max_seq_len=131_072,
        hub="meta-llama/Llama-3.1-70B",
        gated=True,
        plugin="zoo-lm",
    )


@pytest.mark.slow
def test_a_strangers_family_is_listed_with_blanks_rather_than_by_importing_torch(tmp_path):
    install(tmp_path, "zoo-good", {"good": "zoo_good"}, good_plugin("zoo_good", "good"))
    code = """if True:
        import sys, zoo
        (r,) = zoo.list_models("good")
        heavy = {"torch", "hydra", "omegaconf", "huggingface_hub", "transformers"} & set(sys.modules)
        print(r.problem or "no problem", r.parameters, r.num_layers, r.max_seq_len, sorted(heavy))
    """
    done = python(code, site=tmp_path)
    assert (done.stdout, done.stderr) == ("no problem None 2 128 []\n", "")


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


def test_an_unknown_preset_is_met_with_the_nearest():
    with pytest.raises(UnknownName, match="no model is called 'lama3'\ndid you mean: llama3"):
        presets.config("lama3")


def test_a_preset_without_a_family_says_how_to_name_one(tmp_path, monkeypatch):
    (file := tmp_path / "some.yaml").write_text("a: 1\n")
    monkeypatch.setattr(installed(), "presets", lambda: {"some": Preset("some", "pkg", file, "dist")}, raising=True)
    with pytest.raises(ConfigError, match="start its defaults with /schema/FAMILY@_here_"):
        presets.config("some")
