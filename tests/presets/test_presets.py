"""Presets read without Hydra are those that Hydra composes; a stranger's file is refused before it can do harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.distributions import good_plugin, install, python
from tests.some import some
from zoo.errors import ConfigError, UnknownName
from zoo.presets import catalogue as presets
from zoo.presets.composition import by_hydra
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
    assert presets.config(name) == by_hydra(name)


@pytest.mark.slow
def test_every_preset_of_a_real_plugin_is_the_config_that_hydra_composes(tmp_path):
    source = Path(__file__).parents[1] / "plugin" / "zoo-mamba2" / "src" / "zoo_mamba2"
    files = {
        f"zoo_mamba2/{f.relative_to(source)}": f.read_text() for f in source.rglob("*") if f.suffix in (".py", ".yaml")
    }
    install(tmp_path, "zoo-mamba2", {"mamba2": "zoo_mamba2"}, files)
    code = """if True:
        from zoo.presets.composition import by_hydra
        from zoo.presets import config
        from zoo.registry import installed
        names = [p.name for p in installed().presets().values() if p.plugin == "zoo-mamba2"]
        print(len(names), [name for name in names if by_hydra(name) != config(name)])
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
    """And, as tests/reference/test_counts.py holds of every preset, that of transformers."""
    (record,) = (r for r in presets.list_models(name) if r.name == name)
    assert record.parameters == PUBLISHED[name]
    config = presets.config(name)
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


def test_an_unknown_preset_is_met_with_the_nearest():
    with pytest.raises(UnknownName, match="no model is called 'lama3'\ndid you mean: llama3"):
        presets.config("lama3")


def test_a_preset_without_a_family_says_how_to_name_one(tmp_path, monkeypatch):
    (file := tmp_path / "some.yaml").write_text("a: 1\n")
    monkeypatch.setattr(installed(), "presets", lambda: {"some": Preset("some", "pkg", file, "dist")}, raising=True)
    with pytest.raises(ConfigError, match="start its defaults with /schema/FAMILY@_here_"):
        presets.config("some")
