"""Models that transformers has no class for, computed from their files' tensors as the released code computes them.

Written apart from zoo's blocks: one text, no cache, a loop over heads, tensors by the names they have in the files.
python -m tests.plugins.by_hand writes the goldens of these families anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.construction import on_meta
from zoo.models.trial import drawn_tokens
from zoo.registry import installed
from zoo.verification.goldens.file import numbers, write_golden
from zoo.verification.goldens.rerun import folder_of
from zoo.verification.goldens.writer import rows_of
from zoo.weights.table import foreign_shapes

FOUR = {"num_heads": 4, "num_kv_heads": 4, "head_dim": 6}
Stored = dict[str, Tensor]
Config = dict[str, Any]


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def turned(x: Tensor, theta: float) -> Tensor:
    """One head [T, H], channel c and c + H/2 turned by position * theta^(-2c/H)."""
    half = x.shape[-1] // 2
    angle = torch.arange(len(x))[:, None] * theta ** (-torch.arange(half).double() / half)
    a, b = x[:, :half], x[:, half:]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def attend(q: Tensor, k: Tensor, v: Tensor, slope: float) -> Tensor:
    """One head; each key is penalised by its distance times the slope."""
    at = torch.arange(len(q))
    scores = q @ k.T / math.sqrt(q.shape[-1]) - slope * (at[:, None] - at[None])
    return scores.masked_fill(at[:, None] < at[None], -math.inf).softmax(-1) @ v


def heads(q: Tensor, k: Tensor, v: Tensor, c: Config, slopes: list[float] | None = None) -> Tensor:
    """q [T, N*H], k and v [T, K*H]: every query head with the key head that it shares."""
    n, kv = c["num_attention_heads"], c.get("num_key_value_heads", c["num_attention_heads"])
    theta = c.get("rope_parameters", {}).get("rope_theta", 10_000.0)
    turn: Callable[[Tensor], Tensor] = (lambda x: turned(x, theta)) if slopes is None else (lambda x: x)
    qs, ks, vs = q.chunk(n, -1), k.chunk(kv, -1), v.chunk(kv, -1)
    out = [attend(turn(qs[i]), turn(ks[i * kv // n]), vs[i * kv // n], slopes[i] if slopes else 0.0) for i in range(n)]
    return torch.cat(out, -1)


def exaone(w: Stored, c: Config, tokens: Tensor) -> Tensor:
    x, eps = w["transformer.wte.weight"][tokens], c["layer_norm_epsilon"]
    for i in range(c["num_layers"]):
        at = f"transformer.h.{i}"
        y = norm(x, w[f"{at}.ln_1.weight"], eps)
        q, k, v = (y @ w[f"{at}.attn.attention.{n}_proj.weight"].T for n in "qkv")
        x = x + heads(q, k, v, c) @ w[f"{at}.attn.attention.out_proj.weight"].T
        y = norm(x, w[f"{at}.ln_2.weight"], eps)
        gate = F.silu(y @ w[f"{at}.mlp.c_fc_0.weight"].T)
        x = x + (gate * (y @ w[f"{at}.mlp.c_fc_1.weight"].T)) @ w[f"{at}.mlp.c_proj.weight"].T
    return norm(x, w["transformer.ln_f.weight"], eps) @ w.get("lm_head.weight", w["transformer.wte.weight"]).T


def internlm2(w: Stored, c: Config, tokens: Tensor) -> Tensor:
    x, eps = w["model.tok_embeddings.weight"][tokens], c["rms_norm_eps"]
    n, kv, d = c["num_attention_heads"], c["num_key_value_heads"], c["hidden_size"] // c["num_attention_heads"]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        fused = norm(x, w[f"{at}.attention_norm.weight"], eps) @ w[f"{at}.attention.wqkv.weight"].T
        fused = fused + w.get(f"{at}.attention.wqkv.bias", torch.zeros(()))
        fused = fused.view(len(x), kv, n // kv + 2, d)
        q, k, v = fused[:, :, :-2].flatten(1), fused[:, :, -2].flatten(1), fused[:, :, -1].flatten(1)
        x = x + heads(q, k, v, c) @ w[f"{at}.attention.wo.weight"].T + w.get(f"{at}.attention.wo.bias", torch.zeros(()))
        y = norm(x, w[f"{at}.ffn_norm.weight"], eps)
        gate, up = F.silu(y @ w[f"{at}.feed_forward.w1.weight"].T), y @ w[f"{at}.feed_forward.w3.weight"].T
        x = x + (gate * up) @ w[f"{at}.feed_forward.w2.weight"].T
    return norm(x, w["model.norm.weight"], eps) @ w.get("output.weight", w["model.tok_embeddings.weight"]).T


def minicpm(w: Stored, c: Config, tokens: Tensor) -> Tensor:
    x, eps = w["model.embed_tokens.weight"][tokens] * c["scale_emb"], c["rms_norm_eps"]
    scale = c["scale_depth"] / math.sqrt(c["num_hidden_layers"])
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        y = norm(x, w[f"{at}.input_layernorm.weight"], eps)
        q, k, v = (y @ w[f"{at}.self_attn.{n}_proj.weight"].T for n in "qkv")
        x = x + heads(q, k, v, c) @ w[f"{at}.self_attn.o_proj.weight"].T * scale
        x = x + swiglu(w, f"{at}.mlp", norm(x, w[f"{at}.post_attention_layernorm.weight"], eps)) * scale
    x = norm(x, w["model.norm.weight"], eps) / (c["hidden_size"] / c["dim_model_base"])
    return x @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def baichuan(w: Stored, c: Config, tokens: Tensor) -> Tensor:
    x, eps, n = w["model.embed_tokens.weight"][tokens], c["rms_norm_eps"], c["num_attention_heads"]
    slopes = None if "max_position_embeddings" in c else [2.0 ** (-8 * (i + 1) / n) for i in range(n)]  # of 2^k heads
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        fused = norm(x, w[f"{at}.input_layernorm.weight"], eps) @ w[f"{at}.self_attn.W_pack.weight"].T
        x = x + heads(*fused.chunk(3, -1), c, slopes) @ w[f"{at}.self_attn.o_proj.weight"].T
        x = x + swiglu(w, f"{at}.mlp", norm(x, w[f"{at}.post_attention_layernorm.weight"], eps))
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    head = head / head.norm(dim=1, keepdim=True) if "z_loss_weight" in c else head
    return norm(x, w["model.norm.weight"], eps) @ head.T


def swiglu(w: Stored, at: str, y: Tensor) -> Tensor:
    gate, up = F.silu(y @ w[f"{at}.gate_proj.weight"].T), y @ w[f"{at}.up_proj.weight"].T
    return (gate * up) @ w[f"{at}.down_proj.weight"].T


FORWARDS = {"baichuan": baichuan, "exaone": exaone, "internlm2": internlm2, "minicpm": minicpm}

CASES: dict[str, tuple[str, dict[str, Any]]] = {  # golden -> family, fields that differ from the tiny config
    "exaone": ("exaone", {}),
    "exaone-other": ("exaone", {"tie_embeddings": True}),
    "internlm2": ("internlm2", {}),
    "internlm2-other": ("internlm2", {"tie_embeddings": True, "attention_bias": True}),
    "minicpm": ("minicpm", {}),
    "minicpm-other": ("minicpm", {"tie_embeddings": False}),
    "baichuan": ("baichuan", {}),
    "baichuan-7b": ("baichuan", {"has_normed_head": False}),
    "baichuan-13b": ("baichuan", {"has_normed_head": False, "has_alibi": True, **FOUR}),
    "baichuan-2-13b": ("baichuan", {"has_alibi": True, "tie_embeddings": True, **FOUR}),
}


def config_of(case: str) -> Any:
    """The config of a case."""
    name, changed = CASES[case]
    return replace(installed()[name].config_class.tiny(), **changed)


def golden(case: str) -> None:
    """Write the golden of a case beside its family."""
    config = config_of(case)
    family = installed()[config.family]
    raw = json.loads(json.dumps(family.dialect("hf").to_config(config)))
    shapes = {n: tuple(p.shape) for n, p in on_meta(config).named_parameters()}
    steps, _ = family.dialect("hf").table(config).plan(shapes)
    theirs = {n: numbers(n, s).double() for step in steps for n, s in foreign_shapes(step, shapes).items()}
    tokens = drawn_tokens(config, 1, 24)
    logits = FORWARDS[config.family](theirs, raw, tokens[0])
    write_golden(
        folder_of(family) / f"{case}.json", family=config.family,
        reference="the released code's arithmetic by hand (tests/plugins/by_hand.py), float64", config=raw,
        weights=None,
        inputs={"tokens": tokens.tolist()}, expected={"logits": rows_of(logits[None])}, layers={}, limit=1e-9,
    )  # fmt: skip


if __name__ == "__main__":
    for case in CASES:
        golden(case)
