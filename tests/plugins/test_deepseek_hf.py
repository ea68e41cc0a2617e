"""DeepSeek-V2 and V3 from the hub's files: experts apart and stacked, 8-bit blocks, modules that look further ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from tests.plugins.deepseek_files import LITE, V2, V3, YARN, quantised, tensors, write
from zoo.anatomy.size import Size
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.generation.speculation import ModulesDraft
from zoo.nn import hidden_states, traced
from zoo.registry import installed

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4]])


def tiny(**changes: Any) -> Any:
    return replace(installed()["deepseek"].config_class.tiny(), **changes)


def closest(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return (found.double() - expected.double()).abs().max().item()


@pytest.mark.parametrize("config", [V2, LITE, V3, V3 | {"moe_layer_freq": 2}], ids=["V2", "Lite", "V3", "every other"])
def test_files_of_the_hub_are_read_and_written_back_bit_for_bit(tmp_path: Path, config: dict[str, Any]) -> None:
    stored = tensors(config)
    model = zoo.load(write(tmp_path / "in", config, stored))
    assert not model.ledger.account.tied
    zoo.save(model, tmp_path / "out")
    back = load_file(tmp_path / "out" / "model.safetensors")
    assert set(back) == set(stored) - set(model.ledger.account.ignored)
    assert all(x.dtype == stored[name].dtype and torch.equal(x, stored[name]) for name, x in back.items())
    assert zoo.inspect(tmp_path / "out").config == model.config


def test_experts_are_read_stacked_too(tmp_path: Path) -> None:
    stored = tensors(V2)
    stacked = {name: x for name, x in stored.items() if ".experts." not in name}
    for i in (1, 2):
        experts = f"model.layers.{i}.mlp.experts"
        parts = {
            p: torch.stack([stored[f"{experts}.{e}.{p}_proj.weight"] for e in range(6)]) for p in ("gate", "up", "down")
        }
        stacked[f"{experts}.gate_up_proj"] = torch.cat((parts["gate"], parts["up"]), 1)
        stacked[f"{experts}.down_proj"] = parts["down"]
    one, other = zoo.load(write(tmp_path / "a", V2, stored)), zoo.load(write(tmp_path / "b", V2, stacked))
    pairs = zip(one.named_parameters(), other.named_parameters(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_layers_with_experts_are_those_the_config_says(tmp_path: Path) -> None:
    config = V3 | {"moe_layer_freq": 2, "num_hidden_layers": 5, "num_nextn_predict_layers": 0}
    model = zoo.load(write(tmp_path, config, tensors(config)))
    assert [hasattr(layer.mlp, "experts") for layer in model.layers] == [False, False, True, False, True]


@pytest.mark.parametrize("block", [(16, 8), pytest.param((128, 128), marks=pytest.mark.slow)])
def test_eight_bit_blocks_are_multiplied_by_their_scales(tmp_path: Path, block: tuple[int, int]) -> None:
    stored, meant = quantised(tensors(V3), *block)
    settings = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": list(block)}
    packed = zoo.load(write(tmp_path / "a", V3 | {"quantization_config": settings}, stored))
    exact = zoo.load(write(tmp_path / "b", V3, meant))
    assert sum(x.dtype == torch.float8_e4m3fn for x in stored.values()) == 4 * 5 + 3 + 3 * 21
    assert any(size % step for x in stored.values() if x.ndim == 2 for size, step in zip(x.shape, block, strict=True))
    pairs = zip(packed.named_parameters(), exact.named_parameters(), strict=True)
    assert all(a == b and x.dtype == y.dtype and torch.equal(x, y) for (a, x), (b, y) in pairs)
    assert packed.config == exact.config
    assert "quantization_config" in packed.ledger.keys.used
    with torch.inference_mode():
        far = zoo.load(write(tmp_path / "c", V3, tensors(V3)), dtype="float64")(TOKENS)
        near = zoo.load(tmp_path / "a", dtype="float64")(TOKENS)
    assert 0 < (near - far).abs().mean() < 0.1 * far.std()  # 3 bits of mantissa


def test_the_router_s_bias_stays_float32(tmp_path: Path) -> None:
    model = zoo.load(write(tmp_path, V3, tensors(V3)))
    assert model.layers[1].mlp.router.bias.dtype == torch.float32
    assert model.layers[1].mlp.router.weight.dtype == torch.bfloat16


def test_modules_are_left_out_with_the_reason_unless_asked_for(tmp_path: Path) -> None:
    ledger = zoo.inspect(write(tmp_path, V3, tensors(V3)))
    ledger.check()
    assert ledger.config.num_mtp_layers == 0
    assert all(name.startswith("model.layers.3.") for name in ledger.account.ignored)
    assert set(ledger.account.ignored.values()) == {
        "multi-token prediction, loaded when asked for: model.num_mtp_layers"
    }
    model = zoo.load(tmp_path)
    with pytest.raises(UsageError, match="has no multi-token prediction modules"):
        model.predict_ahead(TOKENS)


def test_a_layer_too_many_is_no_module(tmp_path: Path) -> None:
    write(tmp_path, V3 | {"num_hidden_layers": 2}, tensors(V3 | {"num_nextn_predict_layers": 0}))
    with pytest.raises(CheckpointError, match=r"unexpected +model\.layers\.2"):
        zoo.load(tmp_path)


@torch.inference_mode()
def test_modules_asked_for_predict_ahead_in_the_order_of_the_released_weights(tmp_path: Path) -> None:
    stored = tensors(V3)
    model = zoo.load(write(tmp_path, V3, stored), "model.num_mtp_layers=1", dtype="float64")
    assert not model.ledger.account.ignored
    w = {name.removeprefix("model.layers.3."): x.double() for name, x in stored.items() if ".layers.3." in name}

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    hidden = hidden_states(model, TOKENS)[-1]
    embedded = w["embed_tokens.weight"][TOKENS[:, 1:]]
    pair = torch.cat((norm(embedded, w["enorm.weight"]), norm(hidden[:, :-1], w["hnorm.weight"])), -1)
    with traced(model, "mtp.0.layer", "mtp.0.layer.input") as kept:
        (logits,) = model.predict_ahead(TOKENS)
    assert closest(kept["mtp.0.layer.input"], pair @ w["eh_proj.weight"].T) < 1e-12
    out = norm(kept["mtp.0.layer"], w["shared_head.norm.weight"]) @ w["shared_head.head.weight"].T
    assert logits.shape == (1, 23, 61)
    assert closest(logits, out) < 1e-12


@pytest.mark.slow
@torch.inference_mode()
def test_modules_see_no_padding(tmp_path: Path) -> None:
    config = V3 | {"num_nextn_predict_layers": 2}
    write(tmp_path, config, tensors(config))
    model = zoo.load(tmp_path, "model.num_mtp_layers=2", dtype="float64")
    tokens = TOKENS.repeat(2, 1)
    mask = torch.ones(2, 24, dtype=torch.bool)
    mask[0, :5], mask[1, 20:] = False, False
    padded = model.predict_ahead(tokens, attention_mask=mask)
    left, right = model.predict_ahead(tokens[:1, 5:]), model.predict_ahead(tokens[1:, :20])
    for k in range(2):
        assert closest(padded[k][:1, 5:], left[k]) < 1e-12
        assert closest(padded[k][1:, : 19 - k], right[k]) < 1e-12
    with pytest.raises(UsageError, match="2 tokens are too few to predict 2 tokens ahead"):
        model.predict_ahead(tokens[:, :2])


@pytest.mark.slow
def test_modules_without_copies_use_the_main_embedding_and_head(tmp_path: Path) -> None:
    stored = {n: x for n, x in tensors(V3).items() if "layers.3.embed" not in n and "shared_head.head" not in n}
    model = zoo.load(write(tmp_path, V3, stored), "model.num_mtp_layers=1")
    assert torch.equal(model.mtp[0].embed.weight, model.embed.weight)
    assert torch.equal(model.mtp[0].lm_head.weight, model.lm_head.weight)


@pytest.mark.slow
def test_an_exported_model_keeps_its_modules(tmp_path: Path) -> None:
    stored = tensors(V3)
    model = zoo.load(write(tmp_path / "in", V3, stored), "model.num_mtp_layers=1")
    zoo.save(model, tmp_path / "out")
    back = load_file(tmp_path / "out" / "model.safetensors")
    assert set(back) == set(stored)
    assert all(x.dtype == stored[name].dtype and torch.equal(x, stored[name]) for name, x in back.items())
    assert zoo.inspect(tmp_path / "out").config == model.config


def test_modules_cost_no_compute_and_no_cache_of_a_forward_pass() -> None:
    without, with_one = Size.of(tiny()), Size.of(tiny(num_mtp_layers=1))
    assert with_one.parameters > without.parameters
    assert with_one.active_parameters == without.active_parameters
    assert with_one.flops_per_token(9) == without.flops_per_token(9)
    assert with_one.cache_bytes(9) == without.cache_bytes(9)


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (V3, {"scoring_func": "softmax"}, "scoring_func: 'softmax' is not supported, only 'sigmoid' is"),
        (V2, {"scoring_func": "sigmoid"}, "scoring_func: 'sigmoid' is not supported"),
        (V3, {"topk_method": "greedy"}, "topk_method: 'greedy' is not supported, only 'noaux_tc' is"),
        (V2, {"topk_method": "noaux_tc"}, "topk_method: 'noaux_tc' is not known"),
        (V3, {"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported"),
        (V3, {"num_key_value_heads": 1}, "num_key_value_heads: 1 is not supported, only 3 is"),
        (V2, {"mlp_bias": True}, "mlp_bias: True is not supported"),
        (V3, {"n_group": None}, "n_group: the key is missing"),
        (V3, {"n_routed_experts": None}, "n_routed_experts: the key is missing"),
        (V3, {"n_group": 4}, "model.num_experts=6 is not a multiple of model.num_groups=4"),
        (V3, {"topk_group": 4}, "model.groups_per_token=4 exceeds model.num_groups=3"),
        (V3, {"topk_group": 1}, "model.experts_per_token=3 exceeds the 2 experts in"),
        (V3, {"n_group": 6, "topk_group": 3}, "makes groups of one expert, but groups are ranked by their best two"),
        (V3, {"num_experts_per_tok": 1}, "model.is_renormalised=true with model.experts_per_token=1 is ambiguous"),
        (V2, {"rope_interleave": False}, "model.rope_interleaved=false needs model.scoring=sigmoid"),
        (V3, {"rope_scaling": YARN | {"mscale": None}}, "model.rope.mscale=None and model.rope.mscale_all_dim=1.0"),
        (V3, {"rope_scaling": YARN | {"mscale_all_dim": 0}}, "model.rope.mscale_all_dim=0.0 are ambiguous"),
        (V3, {"rope_scaling": YARN | {"original_max_position_embeddings": None}}, "yarn needs model.rope.original"),
        (V3, {"rope_scaling": {"type": "linear", "factor": 2, "mscale": 1.0}}, "mscale=1.0 is not known for 'linear'"),
        (V3, {"partial_rotary_factor": 0.5}, "a partial_rotary_factor of 0.5 is not supported"),
        (V3, {"index_topk": 2048}, "index_topk: the key is not known to deepseek"),
        (V3, {"quantization_config": {"quant_method": "aqlm"}}, "says that the weights are packed by 'aqlm'"),
    ],
    ids=lambda v: str(v)[:40] if isinstance(v, dict) and len(v) < 3 else "",
)  # fmt: skip
def test_another_model_is_refused(tmp_path: Path, base: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as refused:
        zoo.inspect(write(tmp_path, base | changes, {"lm_head.weight": torch.zeros(61, 20)}))
    assert message in str(refused.value)


def test_temperature_without_yarn_is_refused() -> None:
    with pytest.raises(ConfigError, match="mscale and mscale_all_dim are only for yarn, not linear"):
        tiny(rope=replace(tiny().rope, scaling="linear"))


@pytest.mark.parametrize("other", ["deepseek_v32", "deepseek_vl_v2", "deepseek"])
def test_other_DeepSeeks_are_not_taken_for_one(other: str) -> None:
    assert not [f.name for f, _ in installed().detect(V3 | {"model_type": other}) if f.name == "deepseek"]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_modules_guess_what_predict_ahead_says_and_change_no_text(tmp_path: Path, count: int) -> None:
    config = V3 | {"num_nextn_predict_layers": count}
    write(tmp_path, config, tensors(config))
    model = zoo.load(tmp_path, f"model.num_mtp_layers={count}", dtype="float64")
    told: list[tuple[list[int], list[int]]] = []
    draft: Any = ModulesDraft(model)
    own = draft.guess_rows

    def guess_rows(rows: Any, most: Any, pick: Any) -> Any:
        found = own(rows, most, pick)
        told.extend((text, guess.tokens) for text, guess in zip(rows, found, strict=True))
        return found

    draft.guess_rows = guess_rows
    prompts = [[5, 9, 3, 8, 8], [7, 4]]
    plain = zoo.generate(model, prompts, max_new_tokens=15, eos_token_id=[])
    found = zoo.generate(model, prompts, max_new_tokens=15, eos_token_id=[], draft=draft)
    assert found.new_tokens == plain.new_tokens
    assert sum(len(guess) == count for _, guess in told) > 10
    with torch.inference_mode():
        for text, guess in told:
            for k, token in enumerate(guess):
                ahead = model.predict_ahead(torch.tensor([text + guess[:k] + [0] * (count - k - 1)]))
                assert int(ahead[k][0, len(text) - 2].argmax()) == token
    sampled = zoo.generate(
        model, prompts, max_new_tokens=9, temperature=1.0, seed=1, num_return_sequences=2, draft="mtp"
    )
    assert sampled.draft is not None
    assert sampled.draft.num_guessed > 0
    with pytest.raises(UsageError, match="needs a model with multi-token prediction modules"):
        zoo.generate(zoo.load(tmp_path), prompts, draft="mtp")
