"""Mistakes of blocks, angles, biases and fused matrices, planted by hand in one layer: see `seeded`."""

from __future__ import annotations

import copy
import types
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from zoo.nn import Rope


def side_by_side(m: Any) -> None:
    def forward(self: Any, x: torch.Tensor, span: Any, cache: Any = None) -> torch.Tensor:
        return x + self.attn(self.attn_norm(x), span, cache) + self.mlp(self.mlp_norm(x))

    m.layers[1].forward = types.MethodType(forward, m.layers[1])


def unnormed_mlp(m: Any) -> None:
    def forward(self: Any, x: torch.Tensor, span: Any, cache: Any = None) -> torch.Tensor:
        x = x + self.attn(self.attn_norm(x), span, cache)
        return x + self.mlp(x)

    m.layers[1].forward = types.MethodType(forward, m.layers[1])


def behind_one_norm(m: Any) -> None:
    def forward(self: Any, x: torch.Tensor, span: Any, cache: Any = None) -> torch.Tensor:
        x = x + self.attn(self.attn_norm(x), span, cache)
        return x + self.mlp(self.attn_norm(x))

    m.layers[0].forward = types.MethodType(forward, m.layers[0])


def before_branches(m: Any) -> None:
    def forward(self: Any, x: torch.Tensor, span: Any, cache: Any = None) -> torch.Tensor:
        x = x + self.attn(self.attn_norm(x), span, cache)
        return x + self.mlp(self.mlp_norm(x))

    m.layers[1].forward = types.MethodType(forward, m.layers[1])


def fewer_channels(m: Any) -> None:
    attn = m.layers[1].attn
    attn.rope = Rope(attn.head_dim, replace(m.config.rope, partial=0.6), m.config.max_seq_len)


def frequencies_of_the_head(m: Any) -> None:
    """Half of the channels rotate, with the first frequencies of all."""
    attn = m.layers[1].attn
    whole = Rope(attn.head_dim, replace(m.config.rope, partial=1.0), m.config.max_seq_len)
    rope = copy.copy(attn.rope)
    rope.short = whole.short[: len(rope.short)]
    attn.rope = rope


def backwards(m: Any) -> None:
    rope = copy.copy(m.layers[1].attn.rope)
    rope.short = [-f for f in rope.short]
    m.layers[1].attn.rope = rope


def without_bias(m: Any) -> None:
    m.layers[1].mlp.down_proj.bias = None


def with_bias(m: Any) -> None:
    m.layers[1].attn.o_proj.bias = nn.Parameter(torch.full((m.config.hidden_size,), 0.2, dtype=torch.float64))


def mean_off(m: Any) -> None:
    norm = m.layers[1].attn_norm
    m.layers[1].attn_norm = nn.LayerNorm(len(norm.weight), norm.eps, bias=False).double()
    m.layers[1].attn_norm.weight.copy_(norm.weight)


def values_for_keys(m: Any) -> None:
    attn = m.layers[1].attn
    for name in ("weight", "bias"):
        k, v = getattr(attn.k_proj, name), getattr(attn.v_proj, name)
        before = k.clone()
        k.copy_(v)
        v.copy_(before)


def cut_by_parts(m: Any) -> None:
    """BLOOM's file has [head, (q, k, v), channel]; read as [(q, k, v), head, channel]."""
    attn = m.layers[1].attn
    parts = (attn.q_proj, attn.k_proj, attn.v_proj)
    for name in ("weight", "bias"):
        rows = [getattr(part, name).unflatten(0, (-1, attn.head_dim)) for part in parts]
        stored = torch.stack(rows, 1).flatten(0, 2)
        for part, wrong_rows in zip(parts, stored.chunk(3), strict=True):
            getattr(part, name).copy_(wrong_rows)


def cut_by_rows(m: Any) -> None:
    mlp = m.layers[1].mlp
    stored = torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight))
    mlp.gate_proj.weight.copy_(stored[0::2])
    mlp.up_proj.weight.copy_(stored[1::2])


def one_way(m: Any) -> None:
    m.layers[1].attn.mask = replace(m.layers[1].attn.mask, is_causal=True)
