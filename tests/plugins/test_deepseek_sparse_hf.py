"""DeepSeek-V3.2 and GLM-5 from the hub's files: their keys and tensors, 8-bit blocks, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.plugins.deepseek_files import GLM5, V32, quantised, tensors, write
from tests.some import one_in
from zoo.errors import ConfigError, ZooError
from zoo.registry import installed

EMPTY = {"lm_head.weight": torch.zeros(61, 20)}


@pytest.mark.parametrize("config", [V32, GLM5], ids=["DeepSeek", "GLM"])
def test_files_of_the_hub_are_read_and_written_back_bit_for_bit(tmp_path: Path, config: dict[str, Any]) -> None:
    stored = tensors(config)
    assert len([name for name in stored if ".indexer." in name]) == 5 * (4 if config is V32 else 3)
    for modules in (0, 1):
        model = zoo.load(write(tmp_path / "in", config, stored), f"model.num_mtp_layers={modules}")
        zoo.save(model, tmp_path / str(modules))
        back = load_file(tmp_path / str(modules) / "model.safetensors")
        assert set(back) == set(stored) - set(model.ledger.account.ignored)
        assert all(x.dtype == stored[name].dtype and torch.equal(x, stored[name]) for name, x in back.items())
        assert zoo.inspect(tmp_path / str(modules)).config == model.config
    assert {name.split(".")[2] for name in model.ledger.account.ignored} == set()


def test_8_bit_blocks_of_the_indexer_are_multiplied_by_their_scales(tmp_path: Path) -> None:
    stored, meant = quantised(tensors(V32), 4, 6)
    assert "model.layers.0.self_attn.indexer.wq_b.weight_scale_inv" in stored
    assert "model.layers.0.self_attn.indexer.weights_proj.weight_scale_inv" not in stored
    told = {"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0", "weight_block_size": [4, 6]}
    told |= {"activation_scheme": "dynamic"}
    model = zoo.load(write(tmp_path, V32 | {"quantization_config": told}, stored))
    indexer = model.layers[2].attn.indexer
    for ours, theirs in {"q_up": "wq_b", "k_proj": "wk", "head_weights": "weights_proj"}.items():
        expected = meant[f"model.layers.2.self_attn.indexer.{theirs}.weight"]
        assert torch.equal(getattr(indexer, ours).weight, expected)


@pytest.mark.slow
@pytest.mark.parametrize("config", [V32, GLM5], ids=["DeepSeek", "GLM"])
def test_a_lost_a_renamed_and_an_added_tensor_are_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    stored = tensors(config)
    for name in [name for name in stored if "layers.1.self_attn.indexer" in name]:
        with pytest.raises(ZooError, match="indexer"):
            zoo.load(write(tmp_path, config, {n: x for n, x in stored.items() if n != name}))
        turned = stored[name].repeat(2, *[1] * (stored[name].ndim - 1))
        with pytest.raises(ZooError, match="indexer"):
            zoo.load(write(tmp_path, config, stored | {name: turned}))
        with pytest.raises(ZooError, match="indexer"):
            zoo.load(write(tmp_path, config, stored | {name.replace("indexer", "indexer.more"): turned}))
    if config is GLM5:  # layer 2 takes the choice of layer 1, and has no indexer
        with pytest.raises(ZooError, match=r"layers\.2\.self_attn\.indexer"):
            zoo.load(
                write(tmp_path, config, stored | {"model.layers.2.self_attn.indexer.wk.weight": torch.zeros(8, 20)})
            )


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        ({}, [0, 1]),
        ({"indexer_types": None}, [0, 1]),
        ({"indexer_types": None, "index_topk_freq": None}, None),
        ({"indexer_types": None, "index_topk_freq": 1}, None),
        ({"indexer_types": None, "index_topk_freq": None, "index_topk_pattern": "FSF"}, [0, 2]),
        ({"indexer_types": None, "index_topk_freq": None, "index_topk_pattern": ["full", "shared", "shared"]}, [0]),
        ({"indexer_types": None, "index_skip_topk_offset": None}, [0, 1]),  # 2, as in transformers
        ({"index_topk_freq": None, "indexer_types": ["full"] * 3}, None),
        ({"indexer_types": None, "index_topk_freq": 2, "index_skip_topk_offset": 1}, [0, 2]),
    ],
)
def test_the_layers_that_choose_are_told_in_four_ways(
    tmp_path: Path, changes: dict[str, Any], layers: list[int] | None
) -> None:
    """And transformers, whose rule this is, takes the same from them."""
    config = GLM5 | changes
    folder = write(tmp_path, config, tensors(config | {"indexer_types": _types(layers)}))
    assert zoo.inspect(folder).config.indexer_layers == layers
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    given = {name: value for name, value in config.items() if value is not None}  # which it takes for no number
    assert transformers.GlmMoeDsaConfig(**given).indexer_types == _types(layers)


def _types(layers: list[int] | None) -> list[str]:
    return ["full" if layers is None or i in layers else "shared" for i in range(3)]


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    one_in(3, [
        (V32, {"index_topk": None}, "index_topk: the key is missing"),
        (V32, {"index_topk": 0}, "model.num_chosen=0"),
        (V32, {"index_topk": "7"}, "index_topk"),
        (V32, {"index_topk": float("nan")}, "index_topk"),
        (V32, {"index_n_heads": -6}, "model.num_index_heads=-6"),
        (V32, {"index_head_dim": 4}, "model.index_head_dim=4 is less than model.rope_head_dim=6"),
        (V32, {"q_lora_rank": None}, "model.q_lora_rank=null: the indexer reads the squeezed queries"),
        (V32, {"scoring_func": "softmax"}, "scoring_func: 'softmax' is not supported, only 'sigmoid' is"),
        (V32, {"moe_layer_freq": 2}, "moe_layer_freq: 2 is not supported, only 1 is"),
        (V32, {"rope_interleave": False}, "rope_interleave: False is not supported"),
        (V32, {"indexer_rope_interleave": True}, "indexer_rope_interleave: True is not supported"),
        (V32, {"indexer_types": ["full"] * 3}, "indexer_types: the key is not known to deepseek_v32"),
        (V32, {"layer_types": ["full_attention"] * 3}, "layer_types"),
        (V32, {"mlp_layer_types": ["dense", "dense", "sparse"]}, "says 2, and first_k_dense_replace says 1"),
        (V32, {"mlp_layer_types": ["dense"] * 3}, "says 3, and first_k_dense_replace says 1"),
        (V32, {"mlp_layer_types": ["sparse", "dense", "sparse"]}, "'dense' first and 'sparse' after"),
        (V32, {"mlp_layer_types": ["dense", "sparse"]}, "is not 3 words"),
        (V32, {"architectures": ["DeepseekV3ForCausalLM"]}, "DeepseekV3ForCausalLM"),
        (V32, {"index_kpool": 4}, "index_kpool: the key is not known to deepseek_v32"),
        (GLM5, {"indexer_rope_interleave": False}, "indexer_rope_interleave: False is not supported, only True is"),
        (GLM5, {"indexer_types": ["full", "shared", "full"]}, "says [0, 1], and indexer_types says [0, 2]"),
        (GLM5, {"index_topk_pattern": "FFF"}, "index_topk_pattern: says None, and indexer_types says [0, 1]"),
        (GLM5, {"index_topk_freq": 0}, "index_topk_freq: 0 is less than 1"),
        (GLM5, {"indexer_types": ["full", "full"]}, "it has 2 entries for 3 layers"),
        (GLM5, {"indexer_types": ["full", "half", "full"]}, "is not a list of 'full' and 'shared'"),
        (GLM5, {"index_topk_freq": None, "indexer_types": ["shared", "full", "full"]}, "the first layer, 0, has to"),
        (GLM5, {"qk_head_dim": 15}, "qk_head_dim: 15 is not supported, only 14 is"),
    ]),
    ids=lambda v: str(v)[:50] if isinstance(v, dict) and len(v) < 3 else "",
)  # fmt: skip
def test_another_model_is_refused(tmp_path: Path, base: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZooError) as refused:
        zoo.inspect(write(tmp_path, base | changes, EMPTY))
    assert message in str(refused.value)


def test_a_number_of_dense_layers_is_kept_that_is_larger_than_the_model(tmp_path: Path) -> None:
    """The module for further predictions, a layer behind the last, is dense then, too."""
    for told, number in (({}, 9), ({"mlp_layer_types": ["dense"] * 3}, 9), ({"first_k_dense_replace": None}, 3)):
        config = V32 | {"first_k_dense_replace": 9} | told
        stored = tensors(config | {"first_k_dense_replace": 9})
        config = zoo.inspect(write(tmp_path, config, stored)).config
        assert config.num_dense_layers == number
        assert config.has_experts(3) == (number == 3)
    only = V32 | {"first_k_dense_replace": None, "mlp_layer_types": ["dense", "sparse", "sparse"]}
    assert zoo.inspect(write(tmp_path, only, tensors(V32))).config.num_dense_layers == 1


def test_fields_that_no_format_can_hold_are_refused() -> None:
    kind = installed()["deepseek_v32"].config_class
    for changes, message in (
        ({"scoring": "softmax"}, "model.scoring='softmax': a deepseek_v32 has 'sigmoid'"),
        ({"rope_interleaved": False}, "model.rope_interleaved=False: a deepseek_v32 has True"),
        ({"index_rope_interleaved": False}, "model.indexer_layers needs model.index_rope_interleaved=true"),
        ({"indexer_layers": [0, 4]}, "must be numbers of layers"),
        ({"indexer_layers": []}, "the first layer, 0, has to choose"),
    ):
        with pytest.raises(ConfigError) as refused:
            kind.from_dict(kind.tiny().to_dict() | changes)
        assert message in str(refused.value)
    assert kind.from_dict(kind.tiny().to_dict() | {"indexer_layers": [0, 1, 2, 3]}).indexer_layers is None


def test_guesses_of_the_module_change_no_text(tmp_path: Path) -> None:
    for config in (V32, GLM5):
        write(tmp_path, config, tensors(config))
        model = zoo.load(tmp_path, "model.num_mtp_layers=1", dtype="float64")
        prompts = [[5, 9, 3, 8, 8, 2, 4, 4, 1], [7, 4]]
        expected = zoo.generate(model, prompts, max_new_tokens=15, eos_token_id=[])
        found = zoo.generate(model, prompts, max_new_tokens=15, eos_token_id=[], draft="mtp")
        assert found.new_tokens == expected.new_tokens
        assert found.draft is not None
        assert found.draft.num_guessed > 0
