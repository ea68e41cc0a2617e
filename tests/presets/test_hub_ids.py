"""A preset goes by the name that its weights have on the hub, wherever no weights are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

import zoo
from tests.breaking import run
from zoo.errors import UnknownName
from zoo.presets import config, list_models
from zoo.presets.hub_ids import preset_of


@pytest.mark.slow
def test_every_id_that_zoo_list_prints_names_its_preset_or_a_larger_one() -> None:
    records = {r.name: r for r in list_models()}
    for record in records.values():
        if record.hub:
            found = records[preset_of(record.hub)]
            assert found.hub == record.hub
            assert (found.parameters or 0) >= (record.parameters or 0)


def test_an_id_is_read_as_the_presets_name() -> None:
    assert preset_of("meta-llama/Llama-3.1-8B") == "llama3.1-8b"
    assert preset_of("google/gemma-3-12b-pt") == "gemma3-12b"  # and not its part for texts
    assert zoo.compose("openai-community/gpt2") == config("gpt2")


@pytest.mark.parametrize("name", ["nobody/has-this-model", "llama3", "a/b/c", "./meta-llama", "model.x=a/b"])
def test_other_names_stay(name: str) -> None:
    assert preset_of(name) == name


@pytest.mark.parametrize("name", ["meta-llama/llama-3.1-8b", "meta-llama/Lama-3.1-8B", "META-LLAMA/LLAMA-3.1-8B"])
def test_a_near_miss_is_answered_with_the_id(name: str) -> None:
    with pytest.raises(UnknownName, match=r"did you mean: meta-llama/Llama-3\.1-8B\?"):
        preset_of(name)
    for command in ("show", "build"):
        assert "did you mean: meta-llama/Llama-3.1-8B?" in run(command, name).stderr


@pytest.mark.slow
def test_commands_and_functions_that_need_no_weights_take_ids() -> None:
    assert run("show", "meta-llama/Llama-3.1-8B").stdout == run("show", "llama3.1-8b").stdout
    assert zoo.compose("openai-community/gpt2", "model.num_layers=2") == zoo.compose("gpt2", "model.num_layers=2")
    assert zoo.compare("openai-community/gpt2", "meta-llama/Llama-3.1-8B").subjects[1].config == config("llama3.1-8b")


@pytest.mark.parametrize("source", ["openai-community/gpt2", "hf://openai-community/gpt2", "gpt2"])
def test_an_id_whose_weights_are_not_here_is_told_with_its_preset(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = run("inspect", source)
    assert told.exit_code == 3
    assert "It is the preset gpt2, of which zoo show, build and compare need no weights." in told.stderr


@pytest.mark.slow
def test_build_takes_ids_and_sweeps_over_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("build", "openai-community/gpt2", "--json")
    assert '"model": "gpt2"' in done.stdout
    assert run("build", "-m", "model=openai-community/gpt2,distilgpt2", "device=meta").exit_code == 0
