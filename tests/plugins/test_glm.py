"""GLM-4 and GLM-4.5: what their configs may say, their layers for multi-token prediction, and their sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.anatomy.size import Size
from zoo.errors import CheckpointError, ConfigError
from zoo.models.construction import materialise, on_meta
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig, TensorInfo

torch.set_num_threads(1)

PUBLISHED = {  # parameters, as the hub's own count of each repository's weights
    "glm-4-9b-chat-hf": 9_399_951_360,
    "glm-4-9b-0414": 9_400_279_040,
    "glm-4-32b-0414": 32_566_081_536,
    "glm-4.5": 358_337_791_296,
    "glm-4.5-air": 110_468_824_832,
}
CLASSES = {"glm": "GlmForCausalLM", "glm4": "Glm4ForCausalLM", "glm4_moe": "Glm4MoeForCausalLM"}


def hf(family: str):
    return installed()[family].dialect("hf")


def tiny(family: str, **changed):
    kind = installed()[family].config_class
    return kind.from_dict({**kind.tiny().to_dict(), **changed})


def mtp_parameters(c) -> int:
    """Of the layer behind the last: a layer, its two norms in and one out, their joint, and copies of the two ends."""
    shorter = type(c).from_dict({**c.to_dict(), "num_layers": c.num_layers - 1})
    layer = Size.of(c).parameters - Size.of(shorter).parameters
    return layer + 3 * c.hidden_size + 2 * c.hidden_size**2 + 2 * c.vocab_size * c.hidden_size


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_parameters(name: str) -> None:
    config = preset(name)
    ahead = mtp_parameters(config) if config.family == "glm4_moe" else 0  # the hub counts it; it is not built unasked
    assert Size.of(config).parameters + ahead == PUBLISHED[name]
    if ahead:
        asked = type(config).from_dict({**config.to_dict(), "num_mtp_layers": 1})
        assert Size.of(asked).parameters == PUBLISHED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_parameters_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers, the reference, is not installed")
    config = preset(name)
    raw = hf(config.family).to_config(config)
    kind = getattr(transformers, CLASSES[raw["model_type"]])
    with torch.device("meta"):
        model = kind(kind.config_class(**raw))
    routers = [b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")]
    assert sum(p.numel() for p in [*model.parameters(), *routers]) == Size.of(config).parameters


def test_a_half_rotates_where_no_key_says_how_much() -> None:
    raw = hf("glm").to_config(tiny("glm"))
    del raw["rope_parameters"]
    assert hf("glm").from_config(ForeignConfig(raw)).rope.partial == 0.5
    for family in ("glm", "glm4_moe"):
        whole = tiny(family, rope={"partial": 1.0})
        assert hf(family).from_config(ForeignConfig(hf(family).to_config(whole))).rope.partial == 1.0


def test_the_norms_behind_the_branches_are_told_by_the_model_type() -> None:
    plain, sandwiched = tiny("glm", is_sandwiched=False), tiny("glm")
    assert hf("glm").to_config(plain)["model_type"] == "glm"
    assert hf("glm").to_config(sandwiched)["model_type"] == "glm4"
    theirs = {name for rule in hf("glm").mapping(sandwiched).rules for name in rule.theirs}
    assert {"model.layers.{i}.post_self_attn_layernorm", "model.layers.{i}.post_mlp_layernorm"} < theirs


@torch.inference_mode()
def test_only_the_rotary_half_of_a_head_knows_its_position() -> None:
    model: Any = materialise(on_meta(tiny("glm"), dtype="float64"), device="cpu", seed=0)
    rope = model.layers[0].attn.rope
    x = torch.randn(1, 5, 2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = rope.rotate(x, rope(torch.arange(5)[None], x.dtype))
    assert torch.equal(turned[..., 6:], x[..., 6:])
    assert (turned[0, 1:, :, :6] - x[0, 1:, :, :6]).abs().min() > 1e-9
    pairs = turned[..., :6].unflatten(-1, (3, 2)).norm(dim=-1) - x[..., :6].unflatten(-1, (3, 2)).norm(dim=-1)
    assert pairs.abs().max() < 1e-12  # channels 2c and 2c + 1 turn together


def test_layers_for_multi_token_prediction_are_left_out_and_other_layers_are_not() -> None:
    config = tiny("glm4_moe")
    info = TensorInfo("model.layers.3.eh_proj.weight", "float32", (26, 52), Path("a.safetensors"), 26 * 52 * 4, 0)
    table = hf("glm4_moe").mapping_of(config, {info.name: info})
    assert table.ignoring("model.layers.3.mlp.experts.0.up_proj.weight")
    assert not table.ignoring("model.layers.4.mlp.experts.0.up_proj.weight")
    assert not hf("glm4_moe").mapping(config).ignoring("model.layers.3.eh_proj.weight")
    inside = TensorInfo("model.layers.1.eh_proj.weight", "float32", (26, 52), Path("a.safetensors"), 26 * 52 * 4, 0)
    table = hf("glm4_moe").mapping_of(config, {inside.name: inside})
    assert not table.ignoring("model.layers.1.input_layernorm.weight")


def test_experts_are_read_one_by_one_or_stacked() -> None:
    config = tiny("glm4_moe")
    ours = [name for name in config.anatomy().shapes() if ".2.mlp.experts." in name]
    table, prefix = hf("glm4_moe").mapping(config), "model.layers.2.mlp.experts"
    apart = [f"{prefix}.{e}.{part}.weight" for e in range(6) for part in ("gate_proj", "up_proj", "down_proj")]
    stacked = [f"{prefix}.gate_up_proj", f"{prefix}.down_proj"]
    for present in (apart, stacked):
        steps, orphans = table.plan(ours, present)
        assert {name for step in steps for name in step.theirs} == set(present)
        assert not orphans
    steps, _ = table.plan(ours)
    assert {name for step in steps for name in step.theirs} == set(apart)  # what an export writes


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"groups_per_token": 4}, "model.groups_per_token=4 exceeds model.num_groups=3"),
        ({"experts_per_token": 5}, "exceeds the 4 experts in model.groups_per_token=2 groups of 2"),
        ({"num_experts": 7}, "model.num_experts=7 is not a multiple of model.num_groups=3"),
        ({"num_experts": 3, "experts_per_token": 2}, "makes groups of one expert"),
        ({"rope": {"partial": 0.25}}, "is 3 channels, not whole pairs"),
    ],
)
def test_configs_that_cannot_be_are_refused(changed: dict, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        tiny("glm4_moe", **changed)


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("glm", {"hidden_act": "gelu"}),
        ("glm4_moe", {"scoring_func": "softmax"}),
        ("glm4_moe", {"topk_method": "greedy"}),
    ],
)
def test_other_models_of_the_same_name_are_refused(family: str, key: dict) -> None:
    with pytest.raises(CheckpointError, match=f"{next(iter(key))}: .* is not supported"):
        hf(family).from_config(ForeignConfig({**hf(family).to_config(tiny(family)), **key}))
