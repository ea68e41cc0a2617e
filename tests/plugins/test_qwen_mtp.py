"""The module for multi-token prediction of Qwen3-Next and Qwen3.5: arithmetic, files, and drafts over delta nets.

No implementation of the module is at hand; it is computed here from the tensors of the file alone, as vLLM's
qwen3_next_mtp.py and qwen3_5_mtp.py describe it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

import zoo
from tests.some import one_in, some
from zoo.anatomy.size import Size
from zoo.errors import CheckpointError, UsageError
from zoo.generation.speculation import ModulesDraft
from zoo.nn import hidden_states
from zoo.registry import installed

pytestmark = pytest.mark.slow

FAMILIES = ["qwen3_5", "qwen3_5_moe", "qwen3_next"]
TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4]])
ONE = "model.num_mtp_layers=1"


def shapes(c: Any, layers: int = 1) -> dict[str, tuple[int, ...]]:
    """What the released files hold under `mtp`: the names of Qwen3.6-27B and of Qwen3-Next-80B-A3B."""
    d, head, width = c.hidden_size, c.head_dim, c.intermediate_size
    found: dict[str, tuple[int, ...]] = {
        "fc.weight": (d, 2 * d), "norm.weight": (d,), "pre_fc_norm_embedding.weight": (d,),
        "pre_fc_norm_hidden.weight": (d,),
    }  # fmt: skip
    for k in range(layers):
        at = f"layers.{k}"
        found |= {
            f"{at}.input_layernorm.weight": (d,),
            f"{at}.post_attention_layernorm.weight": (d,),
            f"{at}.self_attn.q_proj.weight": (2 * c.num_heads * head, d),
            f"{at}.self_attn.k_proj.weight": (c.num_kv_heads * head, d),
            f"{at}.self_attn.v_proj.weight": (c.num_kv_heads * head, d),
            f"{at}.self_attn.o_proj.weight": (d, c.num_heads * head),
            f"{at}.self_attn.q_norm.weight": (head,),
            f"{at}.self_attn.k_norm.weight": (head,),
        }
        if c.family == "qwen3_5":
            found |= mlp(f"{at}.mlp", d, width)
            continue
        found |= {f"{at}.mlp.gate.weight": (c.num_experts, d), f"{at}.mlp.shared_expert_gate.weight": (1, d)}
        found |= mlp(f"{at}.mlp.shared_expert", d, c.shared_intermediate_size)
        for e in range(c.num_experts):
            found |= mlp(f"{at}.mlp.experts.{e}", d, width)
    return {f"mtp.{name}": shape for name, shape in found.items()}


def mlp(at: str, d: int, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{at}.{x}_proj.weight": (d, width) if x == "down" else (width, d) for x in ("gate", "up", "down")}


def folder(path: Path, family: str, *, layers: int = 1, **changes: Any) -> Path:
    """A small checkpoint as on the hub, with its module."""
    config = replace(installed()[family].config_class.tiny(), eos_token_id=[], **changes)
    torch.manual_seed(0)
    model = zoo.build(config, device="cpu")
    for name, p in model.named_parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=3 * p.shape[-1] ** -0.5 if "embed" in name else 1.5 * p.shape[-1] ** -0.5)
    zoo.save(model.bfloat16(), path)
    draw = torch.Generator().manual_seed(1)
    stored = load_file(path / "model.safetensors")
    for name, shape in shapes(config, layers).items():
        std = 0.3 if len(shape) == 1 else 1.5 * shape[-1] ** -0.5
        stored[name] = (torch.randn(shape, generator=draw) * std).bfloat16()
    save_file(stored, path / "model.safetensors", metadata={"format": "pt"})
    raw = json.loads((path / "config.json").read_text())
    if family != "qwen3_next":
        raw |= {"mtp_num_hidden_layers": layers, "mtp_use_dedicated_embeddings": False}
    (path / "config.json").write_text(json.dumps(raw))
    return path


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * (1 + weight)


def turned(x: Tensor, theta: float, dims: int) -> Tensor:
    """The first `dims` channels of x [T, N, H] rotated, halves paired, token t by t."""
    angle = torch.arange(len(x)).double()[:, None] * theta ** (-torch.arange(0, dims, 2).double() / dims)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b, rest = x[..., : dims // 2], x[..., dims // 2 : dims], x[..., dims:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)


def swiglu(x: Tensor, w: dict[str, Tensor], at: str) -> Tensor:
    gate, up, down = (w[f"{at}.{p}_proj.weight"] for p in ("gate", "up", "down"))
    return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T


def by_hand(c: Any, w: dict[str, Tensor], embedded: Tensor, hidden: Tensor, layer: int = 0) -> Tensor:
    """Normed states [P, D] of a module's layer, from embeddings of later tokens and states before them, [P, D]."""
    eps, at = c.norm_eps, f"mtp.layers.{layer}"
    pair = (norm(embedded, w["mtp.pre_fc_norm_embedding.weight"], eps),
            norm(hidden, w["mtp.pre_fc_norm_hidden.weight"], eps))  # fmt: skip
    x = torch.cat(pair, -1) @ w["mtp.fc.weight"].T
    h = norm(x, w[f"{at}.input_layernorm.weight"], eps)
    q, gate = (h @ w[f"{at}.self_attn.q_proj.weight"].T).view(len(x), c.num_heads, -1).chunk(2, -1)
    k, v = (
        (h @ w[f"{at}.self_attn.{p}_proj.weight"].T).view(len(x), c.num_kv_heads, -1)
        .repeat_interleave(c.num_heads // c.num_kv_heads, 1)
        for p in "kv"
    )  # fmt: skip
    dims = round(c.head_dim * c.rope.partial)
    q = turned(norm(q, w[f"{at}.self_attn.q_norm.weight"], eps), c.rope.theta, dims)
    k = turned(norm(k, w[f"{at}.self_attn.k_norm.weight"], eps), c.rope.theta, dims)
    scores = torch.einsum("tnh,snh->nts", q, k) * c.head_dim**-0.5
    scores = scores.masked_fill(torch.ones(len(x), len(x)).triu(1).bool(), -torch.inf)
    read = torch.einsum("nts,snh->tnh", scores.softmax(-1), v) * gate.sigmoid()
    x = x + read.flatten(1) @ w[f"{at}.self_attn.o_proj.weight"].T
    h = norm(x, w[f"{at}.post_attention_layernorm.weight"], eps)
    if c.family == "qwen3_5":
        x = x + swiglu(h, w, f"{at}.mlp")
    else:
        shares, chosen = (h @ w[f"{at}.mlp.gate.weight"].T).softmax(-1).topk(c.experts_per_token, -1)
        shares = shares / shares.sum(-1, keepdim=True)
        every = torch.stack([swiglu(h, w, f"{at}.mlp.experts.{e}") for e in range(c.num_experts)], 1)
        picked = every.gather(1, chosen[..., None].expand(-1, -1, h.shape[-1]))
        shared = swiglu(h, w, f"{at}.mlp.shared_expert") * (h @ w[f"{at}.mlp.shared_expert_gate.weight"].T).sigmoid()
        x = x + (shares[..., None] * picked).sum(1) + shared
    return norm(x, w["mtp.norm.weight"], eps)


@pytest.mark.parametrize("family", some(FAMILIES, "qwen3_next"))
@torch.inference_mode()
def test_a_module_gives_what_its_tensors_give_by_hand(family: str, tmp_path: Path) -> None:
    model = zoo.load(folder(tmp_path, family, layers=2), "model.num_mtp_layers=2", dtype="float64")
    assert not model.ledger.account.ignored
    w = {name: x.double() for name, x in load_file(tmp_path / "model.safetensors").items()}
    embed, head = w["model.embed_tokens.weight"], w["lm_head.weight"]
    x = hidden_states(model, TOKENS)[-1][0]
    found = model.predict_ahead(TOKENS)
    for k in range(2):
        x = by_hand(model.config, w, embed[TOKENS[0, k + 1 :]], x[:-1], k)
        torch.testing.assert_close(found[k][0], x @ head.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", some(FAMILIES, "qwen3_next"))
def test_the_module_is_left_out_unless_asked_for_and_exported_byte_for_byte(family: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", family, layers=2)
    stored = load_file(source / "model.safetensors")
    ahead = {name for name in stored if name.startswith("mtp.")}
    plain = zoo.load(source)
    assert set(plain.ledger.account.ignored) == ahead
    with pytest.raises(UsageError, match="has no multi-token prediction modules"):
        plain.predict_ahead(TOKENS)
    with pytest.raises(UsageError, match="draft='mtp' needs a model with multi-token prediction modules"):
        zoo.generate(plain, [[3, 4]], max_new_tokens=3, draft="mtp")
    one = zoo.load(source, ONE)
    assert set(one.ledger.account.ignored) == {name for name in ahead if name.startswith("mtp.layers.1.")}
    model = zoo.load(source, "model.num_mtp_layers=2")
    zoo.save(model, tmp_path / "out")
    back = load_file(tmp_path / "out" / "model.safetensors")
    assert set(back) == set(stored)
    assert all(x.dtype == stored[name].dtype and torch.equal(x, stored[name]) for name, x in back.items())
    assert zoo.inspect(tmp_path / "out").config == model.config


def test_experts_of_a_module_are_read_stacked_too(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "qwen3_5_moe")
    stored = load_file(source / "model.safetensors")
    kept = {name: x for name, x in stored.items() if not name.startswith("mtp.layers.0.mlp.experts.")}
    at = "mtp.layers.0.mlp.experts"
    parts = {p: torch.stack([stored[f"{at}.{e}.{p}_proj.weight"] for e in range(5)]) for p in ("gate", "up", "down")}
    kept |= {f"{at}.gate_up_proj": torch.cat((parts["gate"], parts["up"]), 1), f"{at}.down_proj": parts["down"]}
    one = zoo.load(source, ONE)
    save_file(kept, source / "model.safetensors", metadata={"format": "pt"})
    other = zoo.load(source, ONE)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("gone", "more", "message"),
    [
        ("mtp.fc.weight", "", "mtp.fc.weight"),
        ("mtp.norm.weight", "", "mtp.norm.weight"),
        ("mtp.layers.0.self_attn.q_norm.weight", "", "mtp.layers.0.self_attn.q_norm.weight"),
        ("mtp.layers.0.mlp.up_proj.weight", "", "mtp.layers.0.mlp.up_proj.weight"),
        ("", "mtp.embed_tokens.weight", r"unexpected +mtp\.embed_tokens\.weight"),
        ("", "mtp.layers.0.self_attn.q_proj.bias", r"unexpected +mtp\.layers\.0\.self_attn\.q_proj\.bias"),
    ],
)
def test_a_module_of_other_tensors_is_refused(gone: str, more: str, message: str, tmp_path: Path) -> None:
    source = folder(tmp_path, "qwen3_5")
    stored = {name: x for name, x in load_file(source / "model.safetensors").items() if name != gone}
    if more:
        stored[more] = torch.zeros(2, 2)
    save_file(stored, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        zoo.load(source, ONE)


@pytest.mark.parametrize("family", some(FAMILIES, "qwen3_next"))
@pytest.mark.parametrize("count", one_in(3, [2, 1, 5]))
def test_drafts_change_no_text_and_no_logits(family: str, count: int, tmp_path: Path) -> None:
    """States go back by themselves where a guess falls; more tokens than layers are guessed by the last one."""
    model = zoo.load(folder(tmp_path, family), ONE, dtype="float64")
    prompts = [[5, 9, 3, 8, 8], [7, 4], [11]]
    settings: dict[str, Any] = {"max_new_tokens": 20, "return_logits": True}
    plain = zoo.generate(model, prompts, **settings)
    for draft in ("mtp", "ngram", model, Half(plain.tokens)):
        found = zoo.generate(model, prompts, **settings, draft=draft, num_draft_tokens=count)
        assert found.new_tokens == plain.new_tokens
        for ours, expected in zip(found.logits or [], plain.logits or [], strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)  # float64 sums in another order
        if draft != "ngram":
            assert found.draft is not None
            assert found.draft.num_guessed > found.draft.num_right or draft is model
    sampled = zoo.generate(
        model, prompts, max_new_tokens=9, temperature=1.0, seed=1, num_return_sequences=2, draft="mtp"
    )
    assert sampled.draft is not None
    assert sampled.draft.num_guessed > 0


class Half:
    """Right for two tokens, and wrong from then on."""

    num_tokens = 6

    def __init__(self, known: list[list[int]]) -> None:
        self.known = known

    def propose(self, tokens: list[int], most: int) -> list[int]:
        rest = next((k[len(tokens) :] for k in self.known if k[: len(tokens)] == tokens), [])
        return [*rest[:2], 3, 4, 5, 6][:most]


@torch.inference_mode()
def test_guesses_are_those_of_the_whole_text(tmp_path: Path) -> None:
    """Of the first by `predict_ahead`, of the others by hand: the layer goes on from its own state and guess."""
    model = zoo.load(folder(tmp_path, "qwen3_5"), ONE, dtype="float64")
    w = {name: x.double() for name, x in load_file(tmp_path / "model.safetensors").items()}
    draft: Any = ModulesDraft(model, 3)
    told: list[tuple[list[int], list[int]]] = []
    own = draft.guess_rows

    def guess_rows(rows: Any, most: Any, pick: Any) -> Any:
        found = own(rows, most, pick)
        told.extend((text, guess.tokens) for text, guess in zip(rows, found, strict=True))
        return found

    draft.guess_rows = guess_rows
    zoo.generate(model, [[5, 9, 3, 8, 8], [7, 4]], max_new_tokens=15, draft=draft)
    assert sum(len(guess) == 3 for _, guess in told) > 10
    embed, head = w["model.embed_tokens.weight"], w["lm_head.weight"]
    for text, guess in told:
        if not guess:
            continue
        (ahead,) = model.predict_ahead(torch.tensor([text]))
        assert int(ahead[0, -1].argmax()) == guess[0]
        hidden = hidden_states(model, torch.tensor([text]))[-1][0, :-1]
        for k, token in enumerate(guess):
            made = by_hand(model.config, w, embed[[*text[1:], *guess[:k]]], hidden)
            assert int((made[-1] @ head.T).argmax()) == token
            hidden = torch.cat((hidden, made[-1:]))


@pytest.mark.parametrize("family", [*FAMILIES, "glm4_moe"])
def test_modules_cost_no_compute_and_no_cache_of_a_forward_pass(family: str) -> None:
    tiny = installed()[family].config_class.tiny()
    without, with_one = Size.of(tiny), Size.of(replace(tiny, num_mtp_layers=1))
    assert with_one.parameters > without.parameters
    assert with_one.active_parameters == without.active_parameters
    assert with_one.flops_per_token(9) == without.flops_per_token(9)
    assert with_one.cache_bytes(9) == without.cache_bytes(9)


@pytest.mark.parametrize(
    ("name", "published"),
    [("qwen3-next-80b-a3b", 1_650_471_424), ("qwen3.5-27b", 424_699_392), ("qwen3.5-35b-a3b", 844_640_768)],
)
def test_a_module_has_the_parameters_of_the_released_files(name: str, published: int) -> None:
    from zoo.presets import config as preset

    known = preset(name)
    with_one = sum(weight.numel for weight in replace(known, num_mtp_layers=1).anatomy().weights)
    assert with_one - sum(weight.numel for weight in known.anatomy().weights) == published
