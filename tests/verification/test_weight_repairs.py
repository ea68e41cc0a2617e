"""Repairs of weights: matrices, gates, embeddings, heads, routers, biases and fused rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.verification.cases import Nested, case, kinds, module
from zoo.nn import ACTIVATIONS, GatedMLP
from zoo.verification.mistakes import fused, weights

# weights and what stands beside attention


def test_only_square_matrices_are_transposed() -> None:
    square = nn.Linear(3, 3, bias=False)
    before = square.weight.clone()
    modules = {"a.o_proj": square, "a.q": nn.Linear(3, 4), "a.e": nn.Embedding(3, 3)}
    (found,) = weights.transposed(case(modules))
    assert (found.kind, found.where) == ("o_proj", "a.o_proj")
    with found.edit():
        assert torch.equal(square.weight, before.T)
    assert torch.equal(square.weight, before)


def test_gate_and_up_are_exchanged_and_put_back() -> None:
    mlp = _gated()
    gate, up = mlp.gate_proj.weight.clone(), mlp.up_proj.weight.clone()
    (found,) = weights.swapped(case({"mlp": mlp, "x": nn.Linear(2, 2)}))
    with found.edit():
        assert torch.equal(mlp.gate_proj.weight, up)
        assert torch.equal(mlp.up_proj.weight, gate)
    assert torch.equal(mlp.gate_proj.weight, gate)


def _gated() -> Any:
    mlp = GatedMLP.__new__(GatedMLP)
    nn.Module.__init__(mlp)
    mlp.gate_proj, mlp.up_proj = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)
    return mlp


def test_every_activation_but_the_own_is_tried() -> None:
    mlp = module(act=ACTIVATIONS["silu"])
    found = list(weights.activation(case({"mlp": mlp, "x": module(act="word")})))
    assert [r.kind for r in found] == [kind for kind in ACTIVATIONS if kind != "silu"]
    assert all("silu" in r.says for r in found)
    for repair in found:
        with repair.edit():
            assert mlp.act is ACTIVATIONS[repair.kind]
    assert len(list(weights.activation(case({"mlp": module(act=torch.sin)})))) == len(ACTIVATIONS)


def test_embeddings_are_scaled_by_the_root_of_their_width_or_its_inverse() -> None:
    embed = nn.Embedding(7, 9)
    up, down = weights.embedding_scale(case({"embed": embed, "x": nn.Linear(2, 2)}))
    plain = embed(torch.tensor([2]))
    for repair, factor in ((up, 3.0), (down, 1 / 3)):
        with repair.edit():
            torch.testing.assert_close(embed(torch.tensor([2])), plain * factor)
    assert "* 9**0.5" in up.advice
    assert "*" not in down.advice
    assert "are not, in the reference are" in up.says


def test_a_head_is_tied_or_has_the_references_weights() -> None:
    embed, head, other = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False), nn.Linear(4, 7, bias=False)
    theirs = {"lm_head.weight": torch.full((7, 4), 2.0, dtype=torch.float64)}
    tied, *rest = weights.head(case({"embed": embed, "lm_head": head, "other": other}, theirs=theirs))
    assert (tied.kind, rest) == ("tied", [])
    with tied.edit():
        assert head.weight is embed.weight
    head.weight = embed.weight
    (untied,) = weights.head(case({"embed": embed, "lm_head": head}, theirs=theirs))
    assert untied.kind == "untied"
    with untied.edit():
        assert torch.equal(head.weight, torch.full((7, 4), 2.0))
        assert head.weight.dtype == torch.float32
    assert head.weight is embed.weight
    assert kinds(weights.head(case({"embed": embed, "lm_head": head}))) == []
    assert (
        kinds(weights.head(case({"embed": embed, "lm_head": head}, theirs={"lm_head.weight": torch.ones(2, 4)}))) == []
    )
    norm = nn.Identity()
    found = list(weights.head(case({"final.norm": norm, "x": nn.Linear(2, 2)})))
    assert [r.kind for r in found] == ["input × 20^-0.5", "input × 20^0.5"]
    for repair, factor in zip(found, (20**-0.5, 20**0.5), strict=True):
        with repair.edit():
            assert norm(torch.ones(1)).item() == pytest.approx(factor)
    assert ["is not" in r.says for r in found] == [True, False]
    assert kinds(weights.head(case({"norm": norm}, config=Nested()))) == []


def test_routers_are_renormalised_and_scaled_in_every_way_but_their_own() -> None:
    router = module(experts_per_token=2, is_renormalised=True, scale=1.0)
    found = list(weights.routing(case({"router": router, "x": module(experts_per_token=2, is_renormalised=None)})))
    tried = []
    for repair in found:
        with repair.edit():
            tried.append((router.is_renormalised, router.scale))
    assert tried == [(False, 1.0), (True, 2.5), (False, 2.5)]
    assert (router.is_renormalised, router.scale) == (True, 1.0)
    assert [r.kind for r in found] == [f"is_renormalised={flag} scale={factor:g}" for flag, factor in tried]
    router.scale = 2.5
    assert {r.kind[-1] for r in weights.routing(case({"router": router}))} == {"5", "1"}


def test_a_bias_is_given_or_taken_where_the_reference_says_so() -> None:
    bare, full, norm = nn.Linear(2, 3, bias=False), nn.Linear(2, 3), nn.LayerNorm(3)
    theirs = {"a.bare.bias": torch.arange(3.0), "a.full.weight": full.weight, "a.norm.bias": norm.bias}
    found = list(weights.bias(case({"a.bare": bare, "a.full": full, "a.norm": norm}, theirs=theirs)))
    assert kinds(iter(found)) == [("bare with", "a.bare"), ("full without", "a.full")]
    with found[0].edit():
        assert bare.bias.tolist() == [0, 1, 2]
    assert bare.bias is None
    with found[1].edit():
        assert full.bias is None
    assert full.bias is not None
    assert kinds(weights.bias(case({"a.bare": bare}, theirs={"a.bare.bias": torch.ones(2)}))) == []
    assert kinds(weights.bias(case({"a.full": full}))) == []


def test_rows_of_one_matrix_are_cut_by_head_by_part_and_in_other_orders() -> None:
    """Two key/value heads of one channel, two queries to each: rows q 0..3, k 4, 5, v 6, 7."""
    q, k, v = (nn.Linear(1, n) for n in (4, 2, 2))
    for part, start in ((q, 0), (k, 4), (v, 6)):
        part.weight.data = torch.arange(start, start + part.out_features).float()[:, None]
        part.bias.data = part.weight.data[:, 0] + 10
    attn = module(q_proj=q, k_proj=k, v_proj=v, head_dim=1, num_kv_heads=2)
    found = {r.kind: r for r in fused.fused_rows(case({"attn": attn}))}

    def rows() -> list[int]:
        return [int(x) for part in (q, k, v) for x in part.weight[:, 0]]

    with found["q, k and v head by head"].edit():
        # the rows of our three parts, read as [head, (q, q, k, v)]
        assert rows() == [0, 1, 4, 5, 2, 6, 3, 7]
        assert [int(x) for x in q.bias] == [10, 11, 14, 15]
    with found["q, k and v one after the other"].edit():
        assert rows() == [0, 1, 4, 6, 2, 3, 5, 7]
    assert rows() == [0, 1, 2, 3, 4, 5, 6, 7]
    q.bias = None  # type: ignore[assignment]
    own = k.bias.clone()
    with found["q, k and v head by head"].edit():
        assert k.bias.shape == own.shape
    mlp = _gated()
    mlp.gate_proj.weight.data = torch.arange(4.0)[:, None]
    mlp.up_proj.weight.data = torch.arange(4.0, 8.0)[:, None]
    apart, together = fused.fused_rows(case({"mlp": mlp}))
    with apart.edit():
        assert mlp.gate_proj.weight[:, 0].tolist() == [0, 2, 4, 6]
        assert mlp.up_proj.weight[:, 0].tolist() == [1, 3, 5, 7]
    with together.edit():
        assert mlp.gate_proj.weight[:, 0].tolist() == [0, 4, 1, 5]
    assert (apart.kind, together.kind) == ("gate and up row by row", "gate and up one after the other")
