"""Meta's LLaMA written out with complex numbers, and files of random weights for it, as Meta releases them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.registry import installed

PARAMS = {
    "dim": 48,
    "n_layers": 2,
    "n_heads": 6,
    "n_kv_heads": 2,
    "multiple_of": 10,
    "norm_eps": 1e-5,
    "vocab_size": -1,
}
VOCAB = 70
meta = import_module(installed()["llama"].formats["meta"].partition(":")[0])


def weights(**options: Any) -> dict[str, Tensor]:
    """Random weights, large enough for peaked attention, as Meta names and pairs them."""
    p = PARAMS | options
    draw = torch.Generator().manual_seed(0)
    d, ffn, kv = p["dim"], meta.intermediate_size(p["dim"], p["multiple_of"], p.get("ffn_dim_multiplier")), 16

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw) * 1.5 * shape[-1] ** -0.5

    w = {"tok_embeddings.weight": normal(VOCAB, d) * 4, "output.weight": normal(VOCAB, d), "norm.weight": 1 + normal(d)}
    for i in range(p["n_layers"]):
        shapes = {"wq": (d, d), "wk": (kv, d), "wv": (kv, d), "wo": (d, d)}
        w |= {f"layers.{i}.attention.{name}.weight": normal(*shape) for name, shape in shapes.items()}
        shapes = {"w1": (ffn, d), "w2": (d, ffn), "w3": (ffn, d)}
        w |= {f"layers.{i}.feed_forward.{name}.weight": normal(*shape) for name, shape in shapes.items()}
        w |= {f"layers.{i}.{name}_norm.weight": 1 + normal(d) for name in ("attention", "ffn")}
    return w


def write(folder: Path, w: dict[str, Tensor], parts: int = 1, embedding_dim: int = 1, **options: Any) -> Path:
    """The files of a release: matrices cut as Meta's parallel layers cut them, the rest in every part."""
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps(PARAMS | options))
    sides = dict.fromkeys(("wq", "wk", "wv", "w1", "w3", "output"), 0) | dict.fromkeys(("wo", "w2"), 1)
    sides["tok_embeddings"] = embedding_dim
    for part in range(parts):
        state = {"rope.freqs": torch.ones(4)}
        for name, x in w.items():
            side = sides.get(name.split(".")[-2])
            state[name] = x.clone() if side is None else x.chunk(parts, side)[part].clone()
        torch.save(state, folder / f"consolidated.{part:02}.pth")
    return folder


def scaled(freqs: Tensor, factor: float) -> Tensor:
    """`apply_scaling` of llama-models, its 8 a parameter."""
    wavelen = 2 * torch.pi / freqs
    new = torch.where(wavelen > 8192 / 1, freqs / factor, freqs)
    smooth = (8192 / wavelen - 1) / (4 - 1)
    is_medium = (wavelen >= 8192 / 4) & (wavelen <= 8192 / 1)
    return torch.where(is_medium, (1 - smooth) * new / factor + smooth * new, new)


def meta_forward(w: dict[str, Tensor], tokens: Tensor, **options: Any) -> Tensor:
    """Logits [B, T, V] as llama-models computes them, in float64."""
    p = PARAMS | options
    w = {name: x.double() for name, x in w.items()}
    (batch, size), head_dim = tokens.shape, p["dim"] // p["n_heads"]
    freqs = 1 / p.get("rope_theta", 10_000.0) ** (torch.arange(0, head_dim, 2).double() / head_dim)
    if p.get("use_scaled_rope"):
        freqs = scaled(freqs, p["rope_scale_factor"])
    angles = torch.outer(torch.arange(size).double(), freqs)
    turn = torch.polar(torch.ones_like(angles), angles)[:, None]

    def norm(x: Tensor, name: str) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + p["norm_eps"]) * w[f"{name}.weight"]

    def rotated(x: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(3)

    x = w["tok_embeddings.weight"][tokens]
    for i in range(p["n_layers"]):
        at = f"layers.{i}.attention"
        y = norm(x, f"{at}_norm")
        q, k, v = (
            (y @ w[f"{at}.{n}.weight"].T).view(batch, size, heads, head_dim)
            for n, heads in (("wq", p["n_heads"]), ("wk", p["n_kv_heads"]), ("wv", p["n_kv_heads"]))
        )
        q, k = rotated(q), rotated(k)
        k, v = (z.repeat_interleave(p["n_heads"] // p["n_kv_heads"], 2) for z in (k, v))
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) / head_dim**0.5
        scores = scores + torch.full((size, size), -torch.inf).triu(1)
        heads = (scores.softmax(-1) @ v.transpose(1, 2)).transpose(1, 2).flatten(2)
        x = x + heads @ w[f"{at}.wo.weight"].T
        y, ff = norm(x, f"layers.{i}.ffn_norm"), f"layers.{i}.feed_forward"
        x = x + (F.silu(y @ w[f"{ff}.w1.weight"].T) * (y @ w[f"{ff}.w3.weight"].T)) @ w[f"{ff}.w2.weight"].T
    return norm(x, "norm") @ w["output.weight"].T
