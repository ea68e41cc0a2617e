"""Each repair by itself: which ones a module calls for, what each changes, and that it is put back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.verification.cases import case, kinds, module
from zoo.anatomy.config import RopeConfig
from zoo.anatomy.frequencies import frequencies, yarn_mscale
from zoo.nn import RMSNorm, Rope, causal, sliding
from zoo.verification.mistakes import attention, norms, rope
from zoo.verification.mistakes.repair import others


def test_numbers_of_a_config_are_found_in_its_parts_and_booleans_are_none() -> None:
    assert case({}).numbers("num_heads") == {5, 4}
    assert case({}).numbers("wide") == set()
    assert case({}).numbers("hidden_size") == {20}


def test_other_values_are_the_nearest_in_ratio_first() -> None:
    assert others({8.0, 1.0, 3.0, 2.0, 0.0, -1.0}, 2.0) == [3.0, 1.0, 8.0]
    assert others({8.0, 1.0, 0.0}, None) == [1.0, 8.0]
    assert others({2.0 * (1 + 1e-13), 5.0}, 2.0) == [5.0]


def test_a_module_has_an_attribute_that_is_not_none() -> None:
    modules = {"a": module(x=1, y=None), "b": module(x=1, y=2), "c": module(y=2)}
    assert [name for name, _ in case(modules).having("x", "y")] == ["b"]
    assert [name for name, _ in case(modules).having()] == ["a", "b", "c"]


def test_scales_are_powers_of_every_width_at_hand() -> None:
    attn = module(scale=0.7, o_proj=1, head_dim=6)
    tried = {r.kind for r in attention.scale(case({"attn": attn}))}
    # head_dim 6; hidden_size 20; 1; a head's share of the width: 20/5 and 20/4
    expected = {w**-0.5 for w in (6, 20, 1, 4, 5)}
    assert tried == {f"scale × {value / 0.7:.4g}" for value in expected}
    for repair in attention.scale(case({"attn": attn})):
        with repair.edit():
            assert f"scale × {attn.scale / 0.7:.4g}" == repair.kind
        assert attn.scale == 0.7
    latent = module(scale=0.7, o_proj=1, nope_dim=3, rope_dim=2, v_dim=7)
    tried = {r.kind for r in attention.scale(case({"attn": latent}))}
    assert tried == {f"scale × {w**-0.5 / 0.7:.4g}" for w in (6, 20, 1, 4, 5, 3, 2, 7)} - {""}


def test_the_scale_is_the_attentions_or_that_of_what_attends() -> None:
    inner = module(scale=2.0)
    found = list(attention.scale(case({"outer": module(attend=inner, o_proj=1), "no": module(scale=1, o_proj=1)})))
    assert {r.where for r in found} == {"outer"}
    with found[0].edit():
        assert inner.scale != 2.0
    assert inner.scale == 2.0


def test_yarns_temperature_is_tried_on_scores_and_on_angles() -> None:
    settings = RopeConfig(10_000.0, scaling="yarn", factor=4.0, original_max_seq_len=32)
    attn = module(scale=6**-0.5, o_proj=1, head_dim=6, rope=Rope(6, settings, 128))
    warm = yarn_mscale(4.0, 1.0)
    assert attention._temperatures(settings) == {warm, 1.0, warm**2}
    assert attention._temperatures(RopeConfig(10_000.0)) == set()
    two = RopeConfig(10.0, scaling="yarn", factor=4.0, mscale=0.7, mscale_all_dim=0.9)
    a, b = yarn_mscale(4.0, 0.7), yarn_mscale(4.0, 0.9)
    assert {a, b, warm, a / b, b / a, a * a} <= attention._temperatures(two)
    tried = {r.kind for r in attention.scale(case({"attn": attn})) if r.kind.startswith("scale")}
    assert {f"scale × {x:.4g}" for x in (warm, warm**2, 1 / warm, 1 / warm**2)} <= tried
    assert attention._in_words(attn, 6**-0.5 * warm) == f"6^-0.5 × YaRN's mscale {warm:.4g}"
    assert attention._in_words(attn, 6**-0.5) == "6^-0.5"
    angles = [r for r in attention.scale(case({"attn": attn})) if r.kind.startswith("cos")]
    own = attn.rope.factor
    for repair in angles:
        with repair.edit():
            assert repair.kind == f"cos and sin × {attn.rope.factor / own:.4g}"
        assert attn.rope.factor == own
    assert len(angles) == len(others({1.0, *attention._temperatures(settings)}, own))


def test_windows_are_one_more_one_less_and_none() -> None:
    attn = module(mask=sliding(8))
    found = list(attention.window(case({"attn": attn})))
    assert [r.kind for r in found] == ["window 7", "window 9", "window None"]
    with found[0].edit():
        assert (attn.mask.window, attn.mask.is_causal) == (7, True)
    assert attn.mask == sliding(8)
    assert [r.kind for r in attention.window(case({"attn": module(mask=sliding(1))}))] == ["window 2", "window None"]
    assert [r.kind for r in attention.window(case({"attn": module(mask=causal)}))] == ["window 8"]
    assert "all keys" in next(attention.window(case({"attn": module(mask=causal)}))).says
    assert kinds(attention.window(case({"attn": module(mask="words")}))) == []


def test_a_mask_is_causal_or_not() -> None:
    attn = module(mask=sliding(8))
    (found,) = attention.causality(case({"attn": attn}))
    assert "no token after it" in found.says.partition("reference")[0]
    with found.edit():
        assert (attn.mask.is_causal, attn.mask.window) == (False, 8)
    assert kinds(attention.causality(case({"attn": module(mask="words")}))) == []


def test_caps_are_those_of_released_models_and_of_the_config() -> None:
    scores, logits = module(softcap=30.0, o_proj=1), module(softcap=None)
    found = list(attention.softcap(case({"attn": scores, "": logits})))
    assert kinds(iter(found)) == [
        *((f"scores capped at {cap}", "attn") for cap in (None, 20.0, 50.0, 17.0)),
        *((f"logits capped at {cap}", "") for cap in (17.0, 20.0, 30.0, 50.0)),
    ]
    with found[1].edit():
        assert scores.softcap == 20.0
    assert scores.softcap == 30.0


def normed(dim: int = 4, eps: float = 1e-5) -> RMSNorm:
    norm = RMSNorm(dim, eps)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    return norm


def test_norms_are_repaired_together_and_one_by_one() -> None:
    modules = {"layers.0.attn_norm": normed(), "layers.0.mlp_norm": normed(), "layers.0.x": nn.Linear(4, 4)}
    assert kinds(norms.unit_offset(case(modules))) == [
        *((f"{leaf} {shift}", where) for shift in ("+1", "-1") for leaf, where in (
            ("all norms", "layers.0"), ("attn_norm", "layers.0.attn_norm"), ("mlp_norm", "layers.0.mlp_norm"))),
    ]  # fmt: skip
    before = [m.weight.clone() for m in list(modules.values())[:2]]
    both, first, *_ = norms.unit_offset(case(modules))
    with both.edit():
        assert all(torch.equal(modules[n].weight, b + 1) for n, b in zip(modules, before, strict=False))
    with first.edit(), torch.no_grad():
        assert torch.equal(modules["layers.0.attn_norm"].weight, before[0] + 1)
        assert torch.equal(modules["layers.0.mlp_norm"].weight, before[1])
    assert kinds(norms.unit_offset(case({"norm": normed()}))) == [("norm +1", "norm"), ("norm -1", "norm")]
    assert [r.advice[:7] for r in norms.unit_offset(case({"norm": normed()}))] == ["UnitOff", "RMSNorm"]


def test_every_eps_but_the_own_is_tried() -> None:
    one = {"norm": normed(eps=1e-5)}
    values = sorted({1e-12, 1e-8, 1.5625e-7, 1e-7, 1e-6, 3e-4})
    assert kinds(norms.epsilon(case(one))) == [(f"norm {value:g}", "norm") for value in values]
    for repair in norms.epsilon(case(one)):
        with repair.edit():
            assert f"norm {one['norm'].eps:g}" == repair.kind
    two = {"a.x": normed(eps=1e-5), "a.y": normed(eps=1e-6), "a.z": module(eps="none")}
    found = list(norms.epsilon(case(two)))
    both = [r for r in found if r.where == "a"]
    assert {r.kind for r in both} == {f"all norms {value:g}" for value in {1e-12, 1e-8, 1.5625e-7, 1e-7, 3e-4}}
    assert "eps is 1e-06, 1e-05," in both[0].says
    assert [(r.kind, r.where) for r in found if r.kind.endswith("1e-06")] == [("x 1e-06", "a.x")]
    assert "eps is 1e-05," in next(r for r in found if r.kind == "x 1e-06").says


@pytest.mark.parametrize("has_bias", [False, True])
def test_a_norm_of_the_other_kind_has_the_same_weights(has_bias: bool) -> None:
    norm = nn.LayerNorm(4, 1e-3, bias=has_bias)
    nn.init.normal_(norm.weight)
    if has_bias:
        nn.init.normal_(norm.bias)
    x = torch.randn(3, 4) + 2
    found = {
        r.kind: r for r in norms.kind(case({"a.norm": norm, "a.square": module(eps=1.0, weight=torch.ones(2, 2))}))
    }
    assert set(found) == {"norm nn.LayerNorm", "norm RMSNorm"}
    bias = norm.bias if has_bias else 0
    with torch.no_grad():
        with found["norm RMSNorm"].edit():
            expected = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight + bias
            torch.testing.assert_close(norm(x), expected)
        with found["norm nn.LayerNorm"].edit():
            torch.testing.assert_close(norm(x), F.layer_norm(x, (4,), norm.weight, None, 1e-3) + bias)
    two = {"a.x": nn.LayerNorm(4), "a.y": nn.LayerNorm(4)}
    assert kinds(norms.kind(case(two)))[:3] == [
        ("all norms nn.LayerNorm", "a"), ("x nn.LayerNorm", "a.x"), ("y nn.LayerNorm", "a.y")
    ]  # fmt: skip


def attending(rope_config: RopeConfig, head_dim: int = 8, **fields: Any) -> Any:
    dim = int(head_dim * rope_config.partial)
    return module(rope=Rope(head_dim, rope_config, 64), head_dim=head_dim, **fields) if dim else None


def test_channels_turn_in_halves_or_in_pairs() -> None:
    attn = attending(RopeConfig(1e4))
    own = attn.rope
    (found,) = rope.rotary_layout(case({"attn": attn, "x": module(rope="none")}))
    assert found.kind.startswith("to pairs")
    assert "halves" in found.says.partition("reference")[0]
    with found.edit():
        assert attn.rope.is_interleaved
        assert attn.rope.short == own.short
    assert attn.rope is own
    (found,) = rope.direction(case({"attn": attn, "x": module(rope="none")}))
    with found.edit():
        assert attn.rope.short == [-f for f in own.short]
    assert attn.rope is own


def test_bases_are_those_of_released_models_and_of_the_config() -> None:
    attn = attending(RopeConfig(5e5, scaling="linear", factor=4.0, partial=0.5))
    found = list(rope.base_and_stretch(case({"attn": attn, "x": module(rope="none")})))
    assert [r.kind for r in found] == [
        *(f"base {theta:g}" for theta in others({1e4, 1e6, 5e6, 1e7, 123.0}, 5e5)), "not stretched by linear"
    ]  # fmt: skip
    with found[-1].edit():
        assert attn.rope.short == pytest.approx([5e5 ** (-2 * i / 4) for i in range(2)])
    first = others({1e4, 1e6, 5e6, 1e7, 123.0}, 5e5)[0]
    with found[0].edit():
        assert attn.rope.short == pytest.approx([first ** (-2 * i / 4) / 4 for i in range(2)])
    plain = attending(RopeConfig(5e5))
    assert all(r.kind.startswith("base") for r in rope.base_and_stretch(case({"attn": plain})))


def test_shares_of_the_head_are_even_and_no_wider_than_it() -> None:
    attn = attending(RopeConfig(1e4, partial=0.5), head_dim=8)
    found = {r.kind: r for r in rope.share(case({"attn": attn}))}
    counted = ", with frequencies computed over 8"
    assert set(found) == {"2 of 8", f"2 of 8{counted}", f"4 of 8{counted}", "6 of 8", f"6 of 8{counted}", "8 of 8"}
    for kind, repair in found.items():
        width, over = int(kind[0]), 8 if "over 8" in kind else int(kind[0])
        with repair.edit():
            assert attn.rope.dim == width
            assert attn.rope.short == pytest.approx([1e4 ** (-2 * i / over) for i in range(width // 2)])
        assert repair.advice == f"model.rope.partial={width / 8:g}"
    assert attn.rope.dim == 4
    long = RopeConfig(1e4, scaling="longrope", short_factor=[1.0] * 4, long_factor=[2.0] * 4, original_max_seq_len=32)
    assert kinds(rope.share(case({"attn": attending(long)}))) == []
    assert frequencies(8, RopeConfig(1e4), 64) == pytest.approx([1e4 ** (-2 * i / 8) for i in range(4)])


def test_rows_of_queries_and_keys_are_permuted_together_and_apart() -> None:
    q, k = nn.Linear(5, 8, bias=False), nn.Linear(5, 4)
    attn = attending(RopeConfig(1e4), head_dim=4, q_proj=q, k_proj=k)
    found = list(rope.permuted_rows(case({"attn": attn, "x": module(rope="none")})))
    assert [r.kind for r in found] == [
        f"{names} from {way}" for names in ("q and k", "q", "k") for way in ("pairs", "halves")
    ]  # fmt: skip
    order = [0, 2, 1, 3]  # pairs (0, 1), (2, 3) to halves: what turns with what stands two apart
    before = q.weight.clone(), k.weight.clone(), k.bias.clone()
    with found[0].edit():
        assert torch.equal(q.weight, before[0][[*order, *(4 + i for i in order)]])
        assert torch.equal(k.weight, before[1][order])
        assert torch.equal(k.bias, before[2][order])
    with found[4].edit():
        assert torch.equal(q.weight, before[0])
        assert torch.equal(k.weight, before[1][order])
    assert found[0].advice.startswith("rope_halves(heads, 4)")
    assert found[1].advice.startswith("~rope_halves")
    wide = attending(
        RopeConfig(1e4), head_dim=8, q_proj=nn.Linear(3, 8, bias=False), k_proj=nn.Linear(3, 8, bias=False)
    )
    loads, dumps, *_ = rope.permuted_rows(case({"attn": wide}))
    own = wide.q_proj.weight.clone()
    with loads.edit(), dumps.edit():
        assert torch.equal(wide.q_proj.weight, own)
    with loads.edit():
        assert torch.equal(wide.q_proj.weight, own[[0, 2, 4, 6, 1, 3, 5, 7]])


def test_latent_attention_rotates_after_the_latent() -> None:
    shapes = {"num_heads": 2, "nope_dim": 3, "rank": 5, "kv_down": nn.Linear(4, 9, bias=False)}
    attn = attending(RopeConfig(1e4), head_dim=4, q_up=None, q_proj=nn.Linear(4, 14, bias=False), **shapes)
    q, kv = attn.q_proj.weight.clone(), attn.kv_down.weight.clone()
    first = next(rope.permuted_rows(case({"attn": attn})))
    assert "'q_proj' and for 'kv_down'" in first.advice
    with first.edit():
        head = [0, 1, 2, 3, 5, 4, 6]
        assert torch.equal(attn.q_proj.weight, q[[*head, *(7 + i for i in head)]])
        assert torch.equal(attn.kv_down.weight, kv[[0, 1, 2, 3, 4, 5, 7, 6, 8]])
    attn.q_up = nn.Linear(4, 14, bias=False)
    assert "'q_up'" in next(rope.permuted_rows(case({"attn": attn}))).advice
