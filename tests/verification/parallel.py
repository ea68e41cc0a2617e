"""Mistakes that authors of a parallel block make (layers of `norm`, `attn` and `mlp`), each in all layers of a model.

Nothing here knows how zoo.verification undoes mistakes.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn import Rope
from zoo.verification import Verification


def in_layers(change: Callable[[Any], None]) -> Callable[[Any], None]:
    def plant(m: Any) -> None:
        with torch.no_grad():
            for layer in m.layers:
                change(layer)

    return plant


def wired(forward: Callable[..., Any]) -> Callable[[Any], None]:
    return in_layers(lambda layer: setattr(layer, "forward", types.MethodType(forward, layer)))


def in_sequence(self: Any, x: Any, span: Any, cache: Any = None) -> Any:
    x = x + self.attn(self.norm(x), span, cache)
    return x + self.mlp(self.norm(x))


def half_normed(self: Any, x: Any, span: Any, cache: Any = None) -> Any:
    return x + self.attn(self.norm(x), span, cache) + self.mlp(x)


def turned(**fields: Any) -> Callable[[Any], None]:
    """Another Rope: fields of its config, or `is_interleaved` turned over."""

    def plant(m: Any) -> None:
        own = m.layers[0].attn.rope
        is_interleaved = own.is_interleaved != bool(fields.get("other_layout"))
        values = {name: x for name, x in fields.items() if name != "other_layout"}
        rope = Rope(m.config.head_dim, replace(own.rope, **values), own.max_seq_len, is_interleaved=is_interleaved)
        for layer in m.layers:
            layer.attn.rope = rope

    return plant


def backwards(m: Any) -> None:
    rope = copy.copy(m.layers[0].attn.rope)
    rope.short = [-f for f in rope.short]
    for layer in m.layers:
        layer.attn.rope = rope


def transposed(layer: Any) -> None:
    layer.attn.o_proj.weight.copy_(layer.attn.o_proj.weight.T.clone())


def keys_for_values(layer: Any) -> None:
    k, v = layer.attn.k_proj, layer.attn.v_proj
    before = copy.deepcopy(k)
    for name, parameter in before.named_parameters():
        getattr(k, name).copy_(getattr(v, name).clone())
        getattr(v, name).copy_(parameter)


def no_mean(layer: Any) -> None:
    norm = layer.norm
    norm.forward = lambda x: F.rms_norm(x, x.shape[-1:], norm.weight, norm.eps) + norm.bias


def other_eps(m: Any) -> None:
    for module in m.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6


def scaled(m: Any) -> None:
    m.encode = types.MethodType(lambda self, tokens, span: self.embed(tokens) * self.config.hidden_size**0.5, m)


PLANTED: dict[str, tuple[str, Callable[[Any], None]]] = {  # what is done -> the mistake's name, and how
    "a block in sequence": ("block order", wired(in_sequence)),
    "an MLP without its norm": ("block order", wired(half_normed)),
    "the other rotary layout": ("rotary halves and pairs", turned(other_layout=True)),
    "all channels rotate": ("rotary share", turned(partial=1.0)),
    "too few channels rotate": ("rotary share", turned(partial=0.25)),
    "the other way round": ("rotary direction", backwards),
    "another base": ("rotary base and stretch", turned(theta=1e6)),
    "scores not scaled": ("attention scale and YaRN mscale", in_layers(lambda la: setattr(la.attn, "scale", 1.0))),
    "exact GELU": ("GELU kind", in_layers(lambda layer: setattr(layer.mlp, "act", F.gelu))),
    "no mean taken off": ("RMSNorm and LayerNorm", in_layers(no_mean)),
    "another eps": ("eps", other_eps),
    "o_proj on its side": ("square matrix transposed", in_layers(transposed)),
    "keys for values": ("fused rows", in_layers(keys_for_values)),
    "embeddings scaled": ("missing embedding scale", scaled),
    "no bias of the head": ("bias left out", lambda m: setattr(m.lm_head, "bias", None)),
    "a tied head": ("head tied or not", lambda m: setattr(m.lm_head, "weight", m.embed.weight)),
}


def report(make: Callable[[str], Any], hold: Callable[[Any], Verification]) -> dict[str, Any]:
    """Of each dtype and planted mistake, and of the right model, what a verification says, as JSON values."""
    told: dict[str, Any] = {}
    for dtype in ("float64", "float32"):
        for name, (_, plant) in {"right": ("", lambda m: None), **PLANTED}.items():
            model = make(dtype)
            plant(model)
            told[f"{dtype}: {name}"] = hold(model).to_dict()
    model = make("float64")
    with torch.no_grad():
        model.layers[1].mlp.up_proj.weight[3, 5] *= 1 + 1e-6
    return told | {"one weight": hold(model).to_dict()}


def check(told: dict[str, Any]) -> None:
    """The right model is proved, and every mistake named, alone, with nothing left."""
    for case, answer in told.items():
        name = case.partition(": ")[2]
        if name in PLANTED:
            assert answer["verdict"] == "not the same", case
            assert {e["mistake"] for e in answer["explanations"]} == {PLANTED[name][0]}, (case, answer["explanations"])
            assert answer["unexplained"] is None, (case, answer["unexplained"])
    assert told["float64: right"]["verdict"] == "the same within the reference's own rounding"
    assert told["float64: right"]["limit_source"] == "the reference's own noise"
    assert told["float32: right"]["verdict"] == "the same"
    assert told["one weight"]["verdict"] == "not the same"
