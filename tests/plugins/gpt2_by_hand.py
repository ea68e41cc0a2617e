"""OpenAI's GPT-2 written out by hand, and files of random weights for it, as the hub has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

CONFIG = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new", "n_embd": 24,
    "n_head": 3, "n_layer": 2, "n_positions": 20, "n_ctx": 20, "vocab_size": 50, "layer_norm_epsilon": 1e-5,
    "bos_token_id": 49, "eos_token_id": 49, "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1,
    "summary_type": "cls_index", "initializer_range": 0.02,
}  # fmt: skip
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
}


def weights(**options: Any) -> dict[str, Tensor]:
    """Random weights, large enough for peaked attention, under the names of OpenAI's release."""
    c = CONFIG | options
    draw = torch.Generator().manual_seed(0)
    d, ffn = c["n_embd"], c.get("n_inner") or 4 * c["n_embd"]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw) * shape[0] ** -0.5

    w = {"wte.weight": normal(c["vocab_size"], d) * 3, "wpe.weight": normal(c["n_positions"], d) * 3}
    for i in range(c["n_layer"]):
        for name, n_in, n_out in (
            ("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, ffn), ("mlp.c_proj", ffn, d),
        ):  # fmt: skip
            w |= {f"h.{i}.{name}.weight": normal(n_in, n_out) * 1.5, f"h.{i}.{name}.bias": normal(n_out)}
    for name in [f"h.{i}.ln_{n}" for i in range(c["n_layer"]) for n in (1, 2)] + ["ln_f"]:
        w |= {f"{name}.weight": 1 + normal(d), f"{name}.bias": normal(d)}
    return w


def write(folder: Path, tensors: dict[str, Tensor], **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | options))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def openai_forward(w: dict[str, Tensor], tokens: list[int], **options: Any) -> Tensor:
    """Logits [T, V] of one text, in float64, as openai/gpt-2 computes them: x @ w + b, heads cut from thirds."""
    c = CONFIG | options
    w = {name: x.double() for name, x in w.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        y = (x - x.mean(-1, keepdim=True)) * (x.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()
        return y * w[f"{name}.weight"] + w[f"{name}.bias"]

    def conv(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    size = len(tokens)
    x = w["wte.weight"][tokens] + w["wpe.weight"][:size]
    for i in range(c["n_layer"]):
        thirds = conv(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").chunk(3, -1)
        q, k, v = (y.reshape(size, c["n_head"], -1).transpose(0, 1) for y in thirds)
        scores = q @ k.mT
        if c.get("scale_attn_weights", True):
            scores = scores / q.shape[-1] ** 0.5
        if c.get("scale_attn_by_inverse_layer_idx"):
            scores = scores / (i + 1)
        scores = scores.masked_fill(torch.ones(size, size).triu(1).bool(), -torch.inf)
        heads = (scores.softmax(-1) @ v).transpose(0, 1).reshape(size, -1)
        x = x + conv(heads, f"h.{i}.attn.c_proj")
        hidden = ACTIVATIONS[c["activation_function"]](conv(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"))
        x = x + conv(hidden, f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ w.get("lm_head.weight", w["wte.weight"]).T
