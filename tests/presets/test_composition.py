"""Presets and overrides become typed configs, and every mistake becomes a sentence."""

from __future__ import annotations

import argparse
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import zoo
from tests.distributions import install
from zoo.errors import ConfigError, UsageError
from zoo.presets import composition
from zoo.presets import config as read_preset
from zoo.presets.composition import VERSION_BASE, by_hydra, translate
from zoo.registry import installed

ROOT = Path(zoo.__file__).parents[1]


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """A function that installs distributions of strangers for this test."""

    def forget():
        installed.cache_clear()
        composition.install.cache_clear()
        composition.UNREADABLE.clear()
        ConfigStore.instance().repo.pop("schema", None)

    def plug(name: str, files: dict[str, str]) -> None:
        install(tmp_path, f"zoo-{name}", {name: f"zoo_{name}"}, files)
        forget()

    monkeypatch.syspath_prepend(tmp_path)
    yield plug
    forget()


def composed(*words: str) -> Any:
    """What Hydra composes, whatever family it is of."""
    return by_hydra(*words)


def preset(family: str, *lines: str) -> str:
    return "\n".join([f"# {family}", "defaults:", f"  - /schema/{family}@_here_", "  - _self_", *lines, ""])


def test_a_config_is_its_familys_dataclass():
    config = composed("llama3", "model.num_layers=4")
    assert (config.num_layers, config.hidden_size, config.num_kv_heads) == (4, 4096, 8)
    assert type(config) is installed()["llama"].config_class


@pytest.mark.slow
def test_precedence_is_default_preset_group_command_line():
    assert composed("llama3").rope.factor == 1.0
    assert composed("llama3.1").rope.scaling == "llama3"
    assert composed("llama3.1", "rope=yarn").rope.scaling == "yarn"
    assert composed("llama3.1", "rope=yarn").rope.theta == 500_000.0  # the preset's, where the group is silent
    assert composed("llama3.1", "model.rope.factor=2", "rope=yarn").rope.factor == 2.0  # in whatever order


@pytest.mark.slow
@pytest.mark.parametrize("option", ["none", "linear", "dynamic", "yarn", "llama3"])
def test_every_rope_option_composes(option):
    assert composed("llama3", f"rope={option}").rope.scaling == option


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama3", "gemma3-4b", "deepseek-v3", "qwen2.5-7b-1m", "decoder/glm4.5"])
def test_a_preset_composes_to_what_is_read_without_hydra(name):
    assert composed(name) == read_preset(name)


@pytest.mark.slow
def test_composing_twice_gives_the_same():
    assert composed("llama3", "rope=yarn") == composed("llama3", "rope=yarn")


@pytest.mark.slow
def test_composing_in_threads_gives_the_same():
    with ThreadPoolExecutor(4) as pool:
        configs = list(pool.map(lambda n: composed("llama3", f"model.num_layers={n}"), range(1, 9)))
    assert [config.num_layers for config in configs] == list(range(1, 9))


@pytest.mark.slow
def test_a_hydra_application_around_us_is_left_as_it_was(tmp_path):
    (tmp_path / "theirs.yaml").write_text("lr: 1")
    with hydra.initialize_config_dir(str(tmp_path), job_name="theirs", **VERSION_BASE):
        before = GlobalHydra.instance().hydra
        assert composed("llama3").num_layers == 32
        with pytest.raises(UsageError):
            composed("llama3", "+model.x=1")
        assert GlobalHydra.instance().hydra is before
        assert hydra.compose("theirs", ["lr=2"]) == {"lr": 2}
    with hydra.initialize_config_dir(str(tmp_path), job_name="theirs", **VERSION_BASE):
        paths = [entry.path for entry in GlobalHydra.instance().config_loader().get_search_path().get_path()]
        assert not [path for path in paths if "zoo" in path]


MISTAKES = [
    (["lama3"], "no model is called 'lama3'\ndid you mean: llama3, llama2, llama1?"),
    (["llama3", "rope=yarm"], "rope has no option 'yarm'\ndid you mean: yarn, dynamic?"),
    (["llama3", "model.hiden_size=3"], "no key 'model.hiden_size'\ndid you mean: model.hidden_size?"),
    (["llama3", "model.rope.fator=3"], "no key 'model.rope.fator'\ndid you mean: model.rope.factor?"),
    (["llama3", "model.rope_theta=3"], "no key 'model.rope_theta'\ndid you mean: model.rope.theta?"),
    (
        ["llama3", "+model.hiden_size=3"],
        "'model.hiden_size' is not a field of LlamaConfig (did you mean hidden_size?)",
    ),
    (
        ["llama3", "++model.rope.fator=3"],
        "'model.rope.fator' is not a field of RopeConfig (did you mean factor?)",
    ),
    (["modle=llama3"], "no key 'modle'\ndid you mean model=llama3?"),
    (["llama3", "+modle=llama3"], "no key 'modle'\ndid you mean model=llama3?"),
    (["llama3", "rope.factor=4"], "no key 'rope.factor'\ndid you mean model.rope.factor=4?"),
    (
        ["llama3", "model.hidden_size=abc"],
        "Value 'abc' of type 'str' could not be converted to Integer\nmodel.hidden_size: width of the residual stream",
    ),
    (
        ["llama3", "model.rope.factor=abc"],
        "Value 'abc' of type 'str' could not be converted to Float\n"
        "model.rope.factor: how many times the context is stretched",
    ),
    (
        ["llama3", "model.hidden_size=null"],
        "field 'model.hidden_size' is not Optional\nmodel.hidden_size: width of the residual stream",
    ),
    (["llama3,gpt2"], "two values for model: add -m to build both"),
    (["model=llama3,gpt2"], "two values for model: add -m to build both"),
    (["llama3", "model.num_layers=1,2,3"], "three values for model.num_layers: add -m to build all"),
    (["llama3", "model.num_layers=range(1,12)"], "11 values for model.num_layers: add -m to build all"),
    (["llama3", "model.num_layers=interval(1,4)"], "a range of values for model.num_layers: add -m to build all"),
    (["llama3", "model.num_layers"], "'model.num_layers' has no value\ntype: model.num_layers=VALUE"),
    (["llama3", "model.num_layers=???"], "model.num_layers has no value\ntype: model.num_layers=VALUE"),
    (["llama3", "model.num_layers=[1,"], "cannot read 'model.num_layers=[1,'\na bracket is not closed"),
    (["llama3", "model.hub=${nope}"], "Interpolation key 'nope' not found"),
    (["llama3", "device=cpu"], "no key 'device'\nknown: attention, block, mlp, model, norm, position, rope"),
    (["model=null"], "which model?\ntype a name, for example: zoo build llama3 (zoo list shows all names)"),
    (["llama3", "model.num_heads=30"], "model.num_heads=30 is not a multiple of model.num_kv_heads=8"),
    (["llama3", f"model.num_layers={10**20}"], f"model.num_layers={10**20}: more than 10,000 are refused"),
    (["t5-small", "model.num_layers=10001"], "model.num_layers=10001: more than 10,000 are refused"),
    (["llama3", f"model.vocab_size={2**63}"], f"model.vocab_size={2**63}: more than {2**48:,} are refused"),
    (
        ["llama3", "~model.num_layers"],
        "'~model.num_layers': a field cannot be removed\ngive it a value: model.num_layers=VALUE",
    ),
    (["llama3", "model.rope.theta=inf"], "model.rope.theta=inf is not above 1 and up to 1e+13"),
    (["llama3", "model.rope.factor=nan"], "model.rope.factor=nan is not above 0 and up to 10000"),
    (["llama3", "model.norm_eps=-1"], "model.norm_eps=-1.0 is not from 0 to 0.1"),
    (["llama3", "model.head_dim=7"], "model.head_dim=7 is odd, and rotary positions rotate channels in pairs"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_told_in_these_words(words, expected):
    with pytest.raises(UsageError) as raised:
        composed(*words)
    assert str(raised.value) == expected
    assert raised.value.exit_code == 2


def test_many_unknown_keys_are_told_at_once():
    with pytest.raises(UsageError) as raised:
        composed("llama3", *(f"+model.wrong_{n}=1" for n in range(5)))
    assert str(raised.value).count("is not a field") == 3
    assert str(raised.value).endswith("and 2 more")


def test_a_path_is_sent_to_inspect():
    with pytest.raises(UsageError, match=r"to see what a checkpoint contains: zoo inspect hf://org/name@main"):
        composed("hf://org/name@main")


def test_an_unforeseen_error_of_hydra_keeps_its_first_line():
    told = translate(hydra.errors.HydraException("the first line\nand many more"))
    assert isinstance(told, UsageError)
    assert str(told) == "the first line"


@pytest.mark.slow
def test_the_family_must_be_that_of_the_config():
    with pytest.raises(ConfigError, match=r"model\.family='gpt2' is not the family of LlamaConfig"):
        composed("llama3", "model.family=gpt2")


def test_hydras_version_is_asked_for_where_it_wants_to_be():
    assert bool(VERSION_BASE) == hydra.__version__.startswith("1.3")


def test_nothing_is_instantiated_from_a_config():
    sources = [f for folder in ("zoo", "plugins") for f in (ROOT / folder).rglob("*.py")]
    assert sources
    assert not [f for f in sources if re.search(r"hydra\.utils|instantiate\(|_target_\b(?!\")", _code(f))]
    assert not [f for f in (ROOT / "conf").rglob("*.yaml") if re.search(r"_target_|\$\{oc\.", f.read_text())]


def _code(file: Path) -> str:
    """The file without its comments and docstrings."""
    text = re.sub(r'""".*?"""', "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"#.*|\"_target_\"", "", text)


def test_omegaconf_reads_every_familys_config():
    for family in installed().families.values():
        assert OmegaConf.structured(family.config_class) is not None


@pytest.mark.slow
@pytest.mark.skipif(not VERSION_BASE, reason="Hydra 1.4 has the fix itself")
def test_hydra_starts_where_argparse_checks_help_strings(monkeypatch):
    """Python 3.14's argparse, on the version at hand."""
    from zoo.cli.hydra_front import run_once

    def check(self, action):
        if action.help is not None:
            try:
                self._get_formatter()._expand_help(action)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError("badly formed help string") from error

    add = argparse._ActionsContainer.add_argument

    def add_argument(self, *names, **options):
        action = add(self, *names, **options)
        if hasattr(self, "_get_formatter"):
            self._check_help(action)
        return action

    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check, raising=False)
    monkeypatch.setattr(argparse._ActionsContainer, "add_argument", add_argument)
    assert run_once("build", ["model=llama3"], [], lambda composed: {"seed": composed.seed}) == {"seed": 0}
    assert getattr(argparse.ArgumentParser, "_check_help", None) is check
