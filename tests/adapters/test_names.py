"""An adapter of zoo goes by the names that transformers has in memory, which are not always those of its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo.adapters import adapt, merge, save_adapter
from zoo.adapters.roles import weights_by_role
from zoo.anatomy.adapters import adapter_parameters
from zoo.checkpoint.target import foreign_config
from zoo.registry import installed

pytest.importorskip("peft", reason="the extra adapters is not installed")

# As Gemma3nForCausalLM and GraniteMoeForCausalLM of transformers 5.23 name their parameters.
NAMES = {
    "gemma3n": ["model.layers.0.mlp.down_proj.lora_A.weight", "model.layers.0.self_attn.q_proj.lora_A.weight"],
    "gemma4": ["model.layers.0.experts.base_layer.lora_A.weight", "model.layers.0.experts.lora_A.weight"],
    "granitemoe": ["model.layers.0.block_sparse_moe.experts.base_layer.lora_A.weight"],
}


def saved(name: str, folder: Path) -> tuple[Path, Path, Any]:
    """A tiny model of a family as transformers has it, an adapter beside it, and the model with that adapter."""
    config = installed()[name].config_class.tiny()
    base = zoo.save(zoo.build(config, device="cpu", seed=0), folder / "base", format="hf")
    model = adapt(zoo.load(base), 2)
    for p in model.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.1)  # B is 0 otherwise
    return base, save_adapter(model, folder / "adapter"), model


@pytest.mark.parametrize("family", NAMES)
def test_a_text_model_alone_has_no_names_of_one_that_sees(family: str, tmp_path: Path) -> None:
    base, adapter, model = saved(family, tmp_path)
    names = {name.removeprefix("base_model.model.") for name in load_file(adapter / "adapter_model.safetensors")}
    assert names.issuperset(NAMES[family])
    assert not any("language_model" in name or "_linear" in name for name in names)
    x = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        expected, again, plain = model(x), zoo.load(base, adapter=adapter)(x), zoo.load(base)(x)
    assert (again - expected).abs().max() < 1e-5  # float32, fused matrices have their factors in one
    assert (plain - expected).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("family", "name"),
    [  # of ViTForImageClassification and Dinov2WithRegistersForImageClassification of transformers 5.23
        ("vit", "vit.layers.0.attention.q_proj"), ("vit", "vit.layers.0.mlp.fc2"),
        ("dinov2", "dinov2_with_registers.encoder.layer.0.attention.o_proj"),
    ],
)  # fmt: skip
def test_layers_of_pictures_go_by_their_names_in_memory(family: str, name: str, tmp_path: Path) -> None:
    base, adapter, model = saved(family, tmp_path)
    assert f"base_model.model.{name}.lora_A.weight" in load_file(adapter / "adapter_model.safetensors")
    again = dict(zoo.load(base, adapter=adapter).named_parameters())
    assert all(torch.equal(again[n], p) for n, p in model.named_parameters() if ".lora_" in n)


def test_a_kernel_that_slides_is_no_matrix_to_adapt() -> None:
    config = installed()["qwen3_next"].config_class.tiny()
    names = weights_by_role(config)
    model = adapt(zoo.build(config, device="cpu", seed=0), 2)
    assert names
    assert not any("conv" in name for name in names)
    assert any(".mixer." in name for name in names)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == adapter_parameters(config.anatomy(), 2)


FAMILIES = [name for name, family in installed().families.items() if "hf" in family.formats]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore")
def test_transformers_has_every_module_that_an_adapter_names(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    family = installed()[name]
    written = foreign_config(family, "hf", family.config_class.tiny())
    kind = getattr(transformers, written["architectures"][0], None)
    if kind is None:
        pytest.skip("transformers has no class of it")
    _, adapter, _ = saved(name, tmp_path)
    with torch.device("meta"):
        theirs = kind(transformers.AutoConfig.from_pretrained(tmp_path / "base"))
    settings = json.loads((adapter / "adapter_config.json").read_text())
    modules, parameters = dict(theirs.named_modules()), dict(theirs.named_parameters())
    for target in settings["target_parameters"] or []:
        assert target in parameters, target
    for key in load_file(adapter / "adapter_model.safetensors"):
        path = key.removeprefix("base_model.model.").partition(".lora_")[0].removesuffix(".base_layer")
        assert path in modules, path


def test_a_stack_that_lies_has_the_factors_that_peft_gives_it(tmp_path: Path) -> None:
    """Llama 4's experts are [E, in, out], and transformers does not say so: peft's product is of what lies there."""
    import peft

    base, adapter, model = saved("llama4", tmp_path)
    path = "layers.0.mlp.experts.down_proj"
    before, after = (m.get_parameter(path).detach() for m in (zoo.load(base), merge(model)))
    read = load_file(adapter / "adapter_model.safetensors")
    rank = json.loads((adapter / "adapter_config.json").read_text())["r"]
    module = torch.nn.Module()
    module.down_proj = torch.nn.Parameter(before.mT.contiguous())  # [E, in, out]
    module.forward = lambda x: x
    toy = torch.nn.ModuleDict({"experts": module})
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=[], target_parameters=["experts.down_proj"])
    layer = peft.inject_adapter_in_model(settings, toy)["experts"]
    for part in ("lora_A", "lora_B"):
        value = read[f"base_model.model.model.layers.0.feed_forward.experts.{part}.weight"]
        assert getattr(layer, part)["default"].weight.shape == value.shape
        getattr(layer, part)["default"].weight.data = value
    added = layer.get_delta_weight("default").detach()
    assert (added.mT - (after - before)).abs().max() < 1e-5  # float32, sums of numbers of order 0.1
