"""DeepSeek-V3.2 and GLM-5: what the indexer chooses, who reads it, and what is kept and taken back."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo import presets
from zoo.anatomy.size import Size
from zoo.errors import UsageError
from zoo.nn import in_int8, traced
from zoo.parallel.stages import check_layers
from zoo.registry import installed
from zoo.testing import check_family
from zoo.training.preparing import recompute

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4]])
ROUNDING = 1e-12  # float64, sums in another order: measured 3e-15


def tiny(**changes: Any) -> Any:
    return replace(installed()["deepseek_v32"].config_class.tiny(), **changes)


def plain(**changes: Any) -> Any:
    """As DeepSeek's own: every layer chooses, and the indexer's channels rotate in halves."""
    return tiny(index_rope_interleaved=False, indexer_layers=None, **changes)


def peaked(config: Any) -> Any:
    """A model in float64 with weights under which attention is not flat."""
    model = zoo.build(config, device="cpu", dtype="float64").eval()
    draw = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        p.detach().copy_(torch.randn(p.shape, generator=draw, dtype=p.dtype) * 0.4 + ("norm.weight" in name))
    return model


def closest(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return (found - expected).abs().max().item()


def turned(x: Tensor, position: int, theta: float, *, in_pairs: bool) -> Tensor:
    """One head's rotary channels x [R] at a position, as complex numbers."""
    half = len(x) // 2
    angles = position * theta ** (-torch.arange(half, dtype=x.dtype) / half)
    first, second = (x[0::2], x[1::2]) if in_pairs else (x[:half], x[half:])
    out = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.stack((out.real, out.imag), 1 if in_pairs else 0).flatten()


def hadamard(size: int) -> Tensor:
    """Sylvester's matrix, orthogonal: the released code multiplies queries and keys by it."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix / math.sqrt(size)


def ranked(attn: Any, c: Any, x: Tensor) -> list[set[int]]:
    """For each position of x [T, D] what the paper's formula (arXiv:2512.02556, eq. 1) ranks first."""
    own, rope, rotated = attn.indexer, c.rope_head_dim, hadamard(c.index_head_dim)
    turns = {"theta": c.rope.theta, "in_pairs": c.index_rope_interleaved}
    queries, keys = [], []
    for t, row in enumerate(x):
        down = attn.q_down.weight @ row
        squeezed = attn.q_norm.weight * down / (down.square().mean() + 1e-6).sqrt()
        heads = (own.q_up.weight @ squeezed).view(c.num_index_heads, -1)
        k = own.k_proj.weight @ row
        k = (k - k.mean()) / (k.var(correction=0) + 1e-6).sqrt() * own.k_norm.weight + own.k_norm.bias
        both = [torch.cat((turned(h[:rope], t, **turns), h[rope:])) @ rotated for h in (*heads, k)]
        queries.append(torch.stack(both[:-1]))
        keys.append(both[-1])
    chosen = []
    for t, row in enumerate(x):
        weights = own.head_weights.weight @ row
        scores = {s: float((weights * (queries[t] @ keys[s]).clamp(min=0)).sum()) for s in range(t + 1)}
        chosen.append({*sorted(scores, key=lambda s: -scores[s])[: c.num_chosen]})
    return chosen


@pytest.mark.parametrize("config", [plain(index_head_dim=16), tiny(index_head_dim=16)], ids=["DeepSeek", "GLM"])
@torch.inference_mode()
def test_what_is_chosen_is_what_the_paper_s_formula_ranks_first(config: Any) -> None:
    """Against sums by hand, with the Hadamard rotation of the released code, which the model leaves out."""
    model = peaked(config)
    with traced(model, "layers.0.attn.input", "layers.0.attn") as kept:
        model(TOKENS)
    attn, x = model.layers[0].attn, kept["layers.0.attn.input"]
    chosen = ranked(attn, config, x[0])
    assert {len(row) for row in chosen} == {1, 2, 3, 4, 5}
    turns = {"theta": config.rope.theta, "in_pairs": True}
    latents = [attn.kv_down(row).split([config.kv_lora_rank, config.rope_head_dim]) for row in x[0]]
    expanded = [attn.kv_up(attn.kv_norm(latent)).view(config.num_heads, -1) for latent, _ in latents]
    rotary = [turned(key, s, **turns) for s, (_, key) in enumerate(latents)]
    nope, found = config.nope_head_dim, []
    for t, row in enumerate(x[0]):
        heads = attn.q_up(attn.q_norm(attn.q_down(row))).view(config.num_heads, -1)
        out = []
        for n, head in enumerate(heads):
            q = torch.cat((head[:nope], turned(head[nope:], t, **turns)))
            seen = sorted(chosen[t])
            scores = torch.stack([q @ torch.cat((expanded[s][n, :nope], rotary[s])) for s in seen])
            weights = (scores / math.sqrt(len(q))).softmax(0)
            out.append(sum(w * expanded[s][n, nope:] for w, s in zip(weights, seen, strict=True)))
        found.append(attn.o_proj(torch.cat(out)))
    assert closest(kept["layers.0.attn"][0], torch.stack(found)) < ROUNDING


@torch.inference_mode()
def test_a_text_no_longer_than_what_is_chosen_is_read_as_by_plain_latent_attention() -> None:
    sparse = peaked(plain(num_chosen=9))
    fields = {name: value for name, value in sparse.config.to_dict().items() if "index" not in name}
    dense = zoo.build(
        installed()["deepseek"].config_class.from_dict(
            {k: v for k, v in fields.items() if k != "num_chosen"} | {"family": "deepseek"}
        ),
        device="cpu", dtype="float64",
    )  # fmt: skip
    own = {name: x for name, x in sparse.state_dict().items() if ".indexer." not in name}
    dense.load_state_dict(own)
    assert len(own) < len(sparse.state_dict())
    assert torch.equal(sparse(TOKENS[:, :9]), dense(TOKENS[:, :9]))
    longer = sparse(TOKENS), dense(TOKENS)
    assert closest(sparse(TOKENS[:, :10]), longer[0][:, :10]) < ROUNDING  # the tenth reads nine, whatever comes after
    assert closest(longer[0][:, :9], longer[1][:, :9]) < ROUNDING
    assert all(closest(a, b) > 1e-3 for a, b in zip(*(x[0, 9:] for x in longer), strict=True))


@pytest.mark.parametrize("count", [1, 3, 6])
def test_of_equal_scores_the_first_are_chosen(count: int) -> None:
    best = import_module("zoo.plugins.deepseek.sparse.attention").best
    draw = torch.Generator().manual_seed(count)
    scores = torch.randint(0, 3, (40, 6), generator=draw).double()
    scores[:20, 4:], scores[3] = -torch.inf, 0
    for row, found in zip(scores.tolist(), best(scores, count).tolist(), strict=True):
        expected = sorted(range(6), key=lambda s: (-row[s], s))[:count]
        assert [s for s in range(6) if found[s]] == sorted(expected)
    assert best(torch.tensor([[1.0, torch.nan, 3.0]]), 1).tolist() == [[False, True, False]]  # as torch's topk


@torch.inference_mode()
def test_ties_change_nothing_between_a_cache_padding_and_the_whole() -> None:
    """Where no head says anything all scores are 0, and each query reads the first tokens there are."""
    model = peaked(tiny())
    for layer in model.layers:
        if layer.attn.indexer is not None:
            layer.attn.indexer.head_weights.weight.zero_()
    whole, cache = model(TOKENS), model.new_cache(1, 24)
    parts = [model(part, cache=cache) for part in TOKENS.split([7, 1, 9, 1, 6], 1)]
    assert closest(torch.cat(parts, 1), whole) < ROUNDING
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, :6], mask[1, [0, 3, 4, 11, 20, 29]] = False, False
    padded = torch.zeros(2, 30, dtype=torch.long)
    padded[mask] = TOKENS.repeat(2, 1).flatten()
    assert closest(model(padded, attention_mask=mask)[mask], whole.repeat(2, 1, 1).flatten(0, 1)) < ROUNDING
    other = TOKENS.clone()
    other[0, 8] = 50  # not among the first five: those after it do not read it in layer 0
    with traced(model, "layers.0.attn") as kept:
        model(other)
    with traced(model, "layers.0.attn") as before:
        model(TOKENS)
    assert closest(kept["layers.0.attn"][:, 9:], before["layers.0.attn"][:, 9:]) < ROUNDING


@torch.inference_mode()
def test_scoring_some_queries_at_a_time_chooses_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = peaked(tiny())
    expected = model(TOKENS.repeat(2, 1))
    monkeypatch.setattr(import_module("zoo.plugins.deepseek.sparse.attention"), "AT_ONCE", 2000)
    assert closest(model(TOKENS.repeat(2, 1)), expected) < ROUNDING


@torch.inference_mode()
def test_layers_without_an_indexer_read_what_the_one_before_chose() -> None:
    model = peaked(tiny())
    assert [layer.attn.indexer is None for layer in model.layers] == [False, False, True, False]
    handed: dict[int, Tensor] = {}

    def keep(number: int) -> Any:
        return lambda module, args: handed.update({number: dict(args[1].chosen)})

    hooks = [layer.attn.register_forward_pre_hook(keep(i)) for i, layer in enumerate(model.layers)]
    model(TOKENS)
    assert {number: [*chosen] for number, chosen in handed.items()} == {0: [], 1: [], 2: [1], 3: [1]}
    for hook in hooks:
        hook.remove()
    expected = model(TOKENS)
    nn.init.normal_(model.layers[1].attn.indexer.q_up.weight)
    assert closest(model(TOKENS), expected) > 1e-3


def test_gradients_are_the_same_where_layers_are_computed_again() -> None:
    """A later choice must not stand for the one that a layer read."""
    grads = []
    for again in (False, True):
        model = peaked(tiny(num_layers=6, indexer_layers=[0, 3])).train()
        recompute(model, again)
        model(TOKENS).square().mean().backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
        assert not any(p.requires_grad for name, p in model.named_parameters() if ".indexer." in name)
    assert all(g is None for name, g in grads[0].items() if ".indexer." in name)
    assert all(g is None or closest(g, grads[1][name]) < ROUNDING for name, g in grads[0].items())


@torch.inference_mode()
def test_the_cache_keeps_the_indexer_s_keys_in_layers_that_have_one() -> None:
    model = peaked(tiny())
    cache = model.new_cache(1, 24)
    assert [layer.k.shape[-1] for layer in cache.layers] == [6 + 11, 6 + 11, 6, 6 + 11]
    assert cache.nbytes == Size.of(tiny()).cache_bytes(24, dtype="float64")
    rounded = in_int8(model.new_cache(1, 24))
    steps = torch.cat([model(token, cache=rounded) for token in TOKENS.split(1, 1)], 1)
    assert steps.isfinite().all()


def test_a_stage_has_the_layer_whose_choice_it_reads() -> None:
    model = zoo.build(tiny())
    with pytest.raises(
        UsageError, match="layer 2 of DeepSeekV32 reads the tokens that layer 1 chooses, in another stage"
    ):
        check_layers(model, 2)
    check_layers(zoo.build(plain()), 2)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"num_mtp_layers": 2}, {"attention_bias": True, "num_chosen": 2}], ids="-".join)
def test_contract(changes: dict[str, Any]) -> None:
    apart = "gradients reach every parameter" if "num_mtp_layers" in changes else ""  # `forward` leaves modules alone
    checks = check_family("deepseek_v32", config=plain(**changes), groups=("config", "model", "cache", "weights"))
    assert not [str(check) for check in checks if check.state == "fail" and check.name != apart]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "published", "active", "copies"),
    [  # parameters in the files, as the hub counts them without scales; GLM's module has no embedding and head
        ("deepseek-v3.2", 685_355_329_792, 37.5e9, True),
        ("deepseek-v3.2-exp", 685_355_329_792, 37.5e9, True),
        ("deepseek-v3.2-speciale", 685_355_329_792, 37.5e9, True),
        ("glm-5", 753_864_139_008, 40.8e9, False),
        ("glm-5.1", 753_864_139_008, 40.8e9, False),
        ("glm-5.2", 753_329_940_480, 40.3e9, False),
    ],
)
def test_presets_have_the_published_sizes(preset: str, published: int, active: float, copies: bool) -> None:
    c = presets.config(preset)
    held = Size.of(replace(c, num_mtp_layers=1)).parameters - (0 if copies else 2 * c.vocab_size * c.hidden_size)
    assert held == published
    assert Size.of(c).active_parameters == pytest.approx(active, rel=2e-3)
