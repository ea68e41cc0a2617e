"""Presets of strangers compose as ours do, or are told."""

from __future__ import annotations

import pytest

from tests.distributions import good_plugin
from tests.presets.test_composition import composed, plugged, preset
from zoo.errors import UsageError, ZooError
from zoo.presets import config as read_preset
from zoo.presets.composition import compose

__all__ = ["plugged"]  # fixtures


def test_a_strangers_preset_composes(plugged):
    plugged("mamba", good_plugin("zoo_mamba", "mamba", {"mamba": preset("mamba", "hidden_size: 9")}))
    config = composed("mamba", "model.num_layers=7")
    assert (type(config).__module__, config.hidden_size, config.num_layers) == ("zoo_mamba.config", 9, 7)
    assert composed("mamba") == read_preset("mamba")


@pytest.mark.slow
def test_a_preset_in_a_subfolder_composes(plugged):
    files = good_plugin("zoo_mix", "mix", {"decoder/long": preset("mix", "num_layers: 3")})
    files["zoo_mix/conf/model/decoder/short.yaml"] = "# short\ndefaults:\n  - decoder/long@_here_\n  - _self_\n"
    plugged("mix", files)
    assert composed("decoder/long").num_layers == composed("decoder/short").num_layers == 3
    with pytest.raises(UsageError, match=r"no model is called 'decoder/lon'\ndid you mean: decoder/long"):
        composed("decoder/lon")


@pytest.mark.slow
def test_a_strangers_option_group_needs_no_plus(plugged):
    files = good_plugin("zoo_groups", "groups")
    files["zoo_groups/conf/depth/__init__.py"] = ""
    files["zoo_groups/conf/depth/deep.yaml"] = "# @package model\nnum_layers: 99\n"
    plugged("groups", files)
    assert composed("groups", "depth=deep").num_layers == 99


@pytest.mark.slow
def test_a_key_that_is_no_field_is_told_with_its_preset(plugged):
    plugged("typo", good_plugin("zoo_typo", "typo", {"typo": preset("typo", "hiden_size: 9")}))
    with pytest.raises(UsageError) as raised:
        composed("typo")
    expected = "model/typo.yaml: no key 'model.hiden_size'\ndid you mean: model.hidden_size?"
    assert str(raised.value).endswith(expected)


@pytest.mark.slow
def test_a_preset_without_a_family_is_refused(plugged):
    plugged("bare", good_plugin("zoo_bare", "bare", {"bare": "hidden_size: 9\n"}))
    with pytest.raises(UsageError, match="the preset names no family\nstart its defaults with /schema/"):
        composed("bare")


@pytest.mark.slow
def test_a_strangers_preset_is_scanned_before_hydra_reads_it(plugged):
    presets = {"env": preset("sly", "hub: ${oc.env:HOME}"), "sly": preset("sly"), "short": "defaults:\n  - env\n"}
    plugged("sly", good_plugin("zoo_sly", "sly", presets))
    assert composed("sly").hub == ""
    for name in ("env", "short"):
        with pytest.raises(ZooError, match=r"env.yaml: line 5: an interpolation"):
            composed(name)


@pytest.mark.slow
def test_a_broken_config_class_harms_only_its_family(plugged):
    files = good_plugin("zoo_sick", "sick")
    files["zoo_sick/config.py"] = "raise RuntimeError('no such luck')"
    plugged("sick", files)
    assert composed("llama3").num_layers == 32
    with pytest.raises(ZooError, match=r"the config of family 'sick' cannot be read\n.*RuntimeError: no such luck"):
        composed("sick")


@pytest.mark.slow
def test_a_blocked_plugins_preset_repeats_why(plugged, monkeypatch):
    monkeypatch.setenv("ZOO_BLOCK", "gpt2")
    plugged("other", good_plugin("zoo_other", "other"))
    with pytest.raises(ZooError, match="the plugin 'gpt2' of zoo-lm is blocked\n-p no:gpt2"):
        composed("gpt2")


@pytest.mark.slow
def test_two_presets_of_one_name_are_told(plugged):
    plugged("copy", good_plugin("zoo_copy", "copy", {"llama3": preset("copy"), "copy": preset("copy")}))
    with pytest.warns(UserWarning, match="the model 'llama3' of zoo-copy is hidden by the one of zoo-lm"):
        assert compose("llama3").family == "llama"
