"""DeepSeek-V2 and V3 against numbers of DeepSeek's own inference code, and against their published sizes."""

from __future__ import annotations

import math
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
from zoo import presets
from zoo.anatomy.records import Weight
from zoo.anatomy.size import Size
from zoo.nn import hidden_states, traced
from zoo.registry import installed
from zoo.testing import check_family

GOLDEN = 1e-6  # stored as float32; measured 2.4e-7


def tiny(**changes: Any) -> Any:
    return replace(installed()["deepseek"].config_class.tiny(), **changes)


def closest(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return (found.double() - expected.double()).abs().max().item()


class Golden:
    """The tiny V3 of DeepSeek's repository, with what its code computes."""

    def __init__(self, shared: Path) -> None:
        self.folder = shared / "golden" / "deepseek-v3"
        self.expected = load_file(self.folder / "expected.safetensors")
        inputs = load_file(self.folder / "inputs.safetensors")
        self.short, self.long = inputs["short.input_ids"], inputs["long.input_ids"]
        self.model = zoo.load(self.folder, dtype="float64")

    def check(self, name: str, found: Tensor) -> None:
        assert closest(found, self.expected[name]) < GOLDEN, name


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    return Golden(shared)


@torch.inference_mode()
def test_logits_and_every_state_equal_the_original(golden: Golden) -> None:
    golden.check("short.logits", golden.model(golden.short))
    golden.check("long.logits", golden.model(golden.long))
    golden.check("short.hidden_states", torch.stack(hidden_states(golden.model, golden.short)))


@torch.inference_mode()
def test_cache_holds_the_original_s_latents_and_rotary_keys(golden: Golden) -> None:
    cache = golden.model.new_cache(2, 24)
    golden.model(golden.short, cache=cache)
    layer, attn = cache.layers[1], golden.model.layers[1].attn
    latent, key = layer.v[:, 0], layer.k[:, 0]
    golden.check("short.latent_cache.layer1", latent)
    golden.check("short.rope_key_cache.layer1", key)
    expanded = attn.kv_up(latent).unflatten(-1, (4, -1)).transpose(1, 2)
    nope, value = expanded.split([16, 12], -1)
    golden.check("short.naive_k.layer1", torch.cat((nope, key[:, None].expand(-1, 4, -1, -1)), -1))
    golden.check("short.naive_v.layer1", value)


@torch.inference_mode()
def test_experts_and_their_weights_equal_the_original_s(golden: Golden) -> None:
    with traced(golden.model, "layers.1.mlp", "layers.1.mlp.input") as kept:
        golden.model(golden.short)
    golden.check("short.moe_input.layer1", kept["layers.1.mlp.input"])
    golden.check("short.moe_output.layer1", kept["layers.1.mlp"])
    chosen, weights = golden.model.layers[1].mlp.router(kept["layers.1.mlp.input"].flatten(0, 1))
    chosen, order = chosen.sort(-1)
    assert torch.equal(chosen, golden.expected["short.expert_ids_sorted.layer1"])
    golden.check("short.expert_weights.layer1", weights.gather(-1, order))


@torch.inference_mode()
def test_decoding_equals_the_original_s_in_latent_space(golden: Golden) -> None:
    cache = golden.model.new_cache(2, 24)
    steps = [golden.model(golden.short[:, :10], cache=cache, last=True)]
    steps += [golden.model(golden.short[:, t : t + 1], cache=cache) for t in range(10, 24)]
    golden.check("short.decode_logits", torch.cat(steps, 1))


@torch.inference_mode()
def test_greedy_text_equals_the_original_s(golden: Golden) -> None:
    out = zoo.generate(golden.model, golden.short[:1, :12], max_new_tokens=8, eos_token_id=[])
    expected = golden.expected["greedy.generated_ids"]
    assert list(out.new_tokens[0]) == expected[0, 12:].tolist()
    golden.check("greedy.logits", golden.model(expected)[:, 11:19])


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"scoring": "softmax"},
        {
            "scoring": "softmax",
            "is_renormalised": False,
            "num_groups": 1,
            "groups_per_token": 1,
            "q_lora_rank": None,
            "routed_scale": 16.0,
        },
        {"moe_layer_freq": 2, "num_shared_experts": 0, "attention_bias": True, "rope_interleaved": False},
        {"num_mtp_layers": 2},
    ],
    ids=lambda c: "-".join(c) or "tiny",
)
def test_contract(changes: dict[str, Any]) -> None:
    # `forward` leaves the modules that look further ahead alone, and so do its gradients.
    apart = "gradients reach every parameter" if "num_mtp_layers" in changes else ""
    checks = check_family("deepseek", config=tiny(**changes), groups=("config", "model", "cache", "weights"))
    assert not [str(check) for check in checks if check.state == "fail" and check.name != apart]


def softmax_route(x: Tensor, weight: Tensor, *, groups: int, kept: int, k: int) -> tuple[Tensor, Tensor]:
    """V2's choice for one token x [D], written out: the best groups by their best expert, then the best experts."""
    scores = (weight @ x).softmax(-1)
    size = len(scores) // groups
    ranked = sorted(range(groups), key=lambda g: -scores[g * size : (g + 1) * size].max().item())[:kept]
    among = [e for e in range(len(scores)) if e // size in ranked]
    best = torch.tensor(sorted(among, key=lambda e: -scores[e].item())[:k])
    return best, scores[best]


@pytest.mark.parametrize("renormalised", [False, True])
@pytest.mark.parametrize("groups", [(1, 1), (3, 2), (3, 1)])
def test_V2_normalises_its_weights_instead_of_scaling_them(renormalised: bool, groups: tuple[int, int]) -> None:
    c = tiny(
        scoring="softmax", is_renormalised=renormalised, routed_scale=16.0, num_groups=groups[0],
        groups_per_token=groups[1], experts_per_token=2,
    )  # fmt: skip
    router = zoo.build(c, device="cpu", dtype="float64", seed=3).layers[1].mlp.router
    nn.init.normal_(router.weight, generator=torch.Generator().manual_seed(0))
    x = torch.randn(50, c.hidden_size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chosen, weights = router(x)
    for t in range(len(x)):
        best, scores = softmax_route(x[t], router.weight, groups=groups[0], kept=groups[1], k=2)
        expected = scores / scores.sum() if renormalised else scores * 16.0
        assert chosen[t].tolist() == best.tolist()
        assert closest(weights[t], expected) < 1e-12


def test_temperature_goes_to_the_softmax_scale() -> None:
    c = tiny()
    m = 0.1 * 0.7 * math.log(4) + 1
    assert c.softmax_scale == pytest.approx((8 + 6) ** -0.5 * m * m, rel=1e-15)
    attn = zoo.build(c).layers[0].attn
    assert attn.scale == c.softmax_scale
    assert attn.rope.factor == pytest.approx((0.1 * 0.9 * math.log(4) + 1) / m, rel=1e-15)  # on cos and sin
    plain = replace(c.rope, scaling="none", mscale=None, mscale_all_dim=None)
    assert replace(c, rope=plain).softmax_scale == (8 + 6) ** -0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "parameters", "active"),
    [
        ("deepseek-v2", 235_741_434_880, 20.9e9),
        ("deepseek-v2.5", 235_741_434_880, 20.9e9),
        ("deepseek-v2-lite", 15_706_484_224, 2.45e9),
        ("deepseek-v3", 671_026_419_200, 36.6e9),
        ("deepseek-r1", 671_026_419_200, 36.6e9),
    ],
)
def test_presets_have_the_published_sizes(preset: str, parameters: int, active: float) -> None:
    model = zoo.build(preset)
    assert sum(p.numel() for p in model.parameters()) == parameters
    size = Size.of(model.config)
    assert size.parameters == parameters
    assert size.active_parameters == pytest.approx(active, rel=0.005)


@pytest.mark.slow
def test_the_prediction_module_of_V3_has_the_published_size() -> None:
    size = Size.of(zoo.build("deepseek-v3", "model.num_mtp_layers=1").config)
    embedding_and_head = 2 * 129280 * 7168
    assert size.parameters == 684_489_845_504
    assert size.parameters - 671_026_419_200 - embedding_and_head == pytest.approx(11.5e9, rel=0.01)


def test_V3_and_R1_are_told_as_large_as_their_released_files() -> None:
    """One byte a number and four for the scale of each 128 x 128 block, as released (arXiv:2412.19437, 3.3).

    Embedding, head, norms and routers have two bytes a number, the routers' biases four; the module of further
    predictions has its own copy of embedding and head. Headers add 12 MB.
    """

    def stored(w: Weight) -> int:
        layers = 1 if w.layers is None else len(w.layers)
        if w.role not in ("attention", "mlp", "experts"):
            return w.numel * (4 if w.is_exact else 2)
        *many, rows, columns = w.shape
        return w.numel + 4 * layers * prod(many) * ceil(rows / 128) * ceil(columns / 128)

    anatomy = Size.of(presets.config("deepseek-v3")).anatomy
    last = [replace(w, layers=(60,)) for w in anatomy.weights if w.layers and 60 in w.layers]
    main, module = (sum(map(stored, weights)) for weights in (anatomy.weights, last))
    beside = 2 * (2 * 129280 * 7168 + 2 * 7168 * 7168 + 3 * 7168)  # embedding and head, the projection, three norms
    for name in ("deepseek-v3", "deepseek-r1"):
        assert presets.config(name).stored_gib == pytest.approx((main + module + beside) / 2**30, abs=0.05)


def test_the_cache_of_V2_Lite_takes_30_KiB_per_token() -> None:
    model = zoo.build("deepseek-v2-lite", dtype="bfloat16")
    assert model.new_cache(1, 1000).nbytes == 1000 * 27 * (512 + 64) * 2
    assert Size.of(model.config).cache_bytes_per_token() == 31104  # 30.4 KiB
    assert model.new_cache(2, 100).nbytes == Size.of(model.config).cache_bytes(100, batch=2)
