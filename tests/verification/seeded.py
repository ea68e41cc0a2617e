"""Models with one mistake in one layer, planted by hand: nothing here knows how zoo.verification undoes mistakes."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.verification.plants import (
    backwards,
    before_branches,
    behind_one_norm,
    cut_by_parts,
    cut_by_rows,
    fewer_channels,
    frequencies_of_the_head,
    mean_off,
    one_way,
    side_by_side,
    unnormed_mlp,
    values_for_keys,
    with_bias,
    without_bias,
)
from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.models.construction import materialise, on_meta
from zoo.nn import MLP, RMSNorm, Rope, sliding
from zoo.registry import installed
from zoo.testing.subject import peaked


@dataclass(frozen=True)
class Seed:
    """What is done to which family, and what must be found: the mistake's name and the place that has it."""

    name: str
    mistake: str
    family: str
    place: str  # a prefix of the module that the diagnosis names; "" is outside of layers
    plant: Callable[[Any], None]
    fields: tuple[tuple[str, Any], ...] = ()  # of the tiny config

    def __str__(self) -> str:
        return self.name

    @property
    def config(self) -> ModelConfig:
        return replace(installed()[self.family].config_class.tiny(), **dict(self.fields))


def right(config: ModelConfig) -> nn.Module:
    """A model in float64 whose attention is peaked and whose norms and biases are far from 1 and 0."""
    return peaked(materialise(on_meta(config, dtype="float64"), device="cpu")).eval()


def wrong(seed: Seed, model: nn.Module) -> nn.Module:
    """A copy with the mistake."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        seed.plant(other)
    return other


def turned(m: Any) -> None:
    attn = m.layers[1].attn
    attn.rope = Rope(attn.head_dim, m.config.rope, m.config.max_seq_len, is_interleaved=True)


def rows_of_pairs(projection: nn.Linear, head_dim: int) -> None:
    """(0, 1, ..., H-1) of each head to (0, H/2, 1, H/2 + 1, ...), as Meta's files have them."""
    order = [c + half * head_dim // 2 for c in range(head_dim // 2) for half in (0, 1)]
    heads = projection.weight.shape[0] // head_dim
    rows = [head * head_dim + c for head in range(heads) for c in order]
    projection.weight.copy_(projection.weight[rows].clone())


def unpermuted(m: Any) -> None:
    for projection in (m.layers[1].attn.q_proj, m.layers[1].attn.k_proj):
        rows_of_pairs(projection, m.layers[1].attn.head_dim)


def unpermuted_key(m: Any) -> None:
    rows_of_pairs(m.layers[1].attn.k_proj, m.layers[1].attn.head_dim)


def flipped(m: Any) -> None:
    weight = m.layers[1].attn.o_proj.weight
    weight.copy_(weight.T.clone())


def plain_norm(m: Any) -> None:
    norm = m.layers[1].mlp_norm
    m.layers[1].mlp_norm = RMSNorm(len(norm.weight), norm.eps).double()
    m.layers[1].mlp_norm.weight.copy_(norm.weight)


def added_twice(m: Any) -> None:
    m.layers[2].attn_norm.weight.add_(1)


def swapped(m: Any) -> None:
    mlp = m.layers[1].mlp
    gate, up = mlp.gate_proj.weight.clone(), mlp.up_proj.weight.clone()
    mlp.gate_proj.weight.copy_(up)
    mlp.up_proj.weight.copy_(gate)


def swapped_experts(m: Any) -> None:
    experts = m.layers[0].mlp.experts
    gate, up = experts.gate_proj.clone(), experts.up_proj.clone()
    experts.gate_proj.copy_(up)
    experts.up_proj.copy_(gate)


def unscaled(m: Any) -> None:
    m.encode = types.MethodType(lambda self, tokens, span: self.embed(tokens), m)


def scaled(m: Any) -> None:
    m.encode = types.MethodType(lambda self, tokens, span: self.embed(tokens) * self.config.hidden_size**0.5, m)


def by_width(m: Any) -> None:
    m.layers[1].attn.scale = (m.config.hidden_size / m.config.num_heads) ** -0.5


def unscaled_scores(m: Any) -> None:
    m.layers[0].attn.scale = 1.0


def cold(m: Any) -> None:
    attn = m.layers[1].attn
    attn.scale = (attn.nope_dim + attn.rope_dim) ** -0.5


def wider(m: Any) -> None:
    m.layers[1].attn.mask = sliding(m.config.sliding_window + 1)


def narrower(m: Any) -> None:
    m.layers[1].attn.mask = sliding(m.config.sliding_window - 1)


def exact_gelu(m: Any) -> None:
    m.layers[1].mlp.act = F.gelu


def quick(m: Any) -> None:
    mlp = m.layers[0].mlp
    assert isinstance(mlp, MLP)
    mlp.act = lambda x: x * torch.sigmoid(1.702 * x)


def another_eps(m: Any) -> None:
    m.layers[1].attn_norm.eps = m.layers[1].mlp_norm.eps = 1e-6


def eps_of_one_norm(m: Any) -> None:
    m.layers[1].mlp_norm.eps = 1e-12


def tied(m: Any) -> None:
    m.lm_head.weight = m.embed.weight


def untied(m: Any) -> None:
    m.lm_head.weight = nn.Parameter(torch.randn_like(m.embed.weight, generator=torch.Generator().manual_seed(5)))


def raw_weights(m: Any) -> None:
    m.layers[2].mlp.router.is_renormalised = not m.layers[2].mlp.router.is_renormalised


def unscaled_experts(m: Any) -> None:
    m.layers[2].mlp.router.scale = 1.0


def uncapped(m: Any) -> None:
    m.layers[1].attn.softcap = None


def uncapped_logits(m: Any) -> None:
    m.softcap = None


def another_base(m: Any) -> None:
    attn = m.layers[1].attn
    attn.rope = Rope(attn.head_dim, RopeConfig(theta=500_000.0), m.config.max_seq_len)


def latent_rows(m: Any) -> None:
    """The rotary rows of the queries, which follow the others in each head, from pairs to halves."""
    attn = m.layers[1].attn
    width, size = attn.nope_dim + attn.rope_dim, attn.rope_dim
    order = [c for half in (0, 1) for c in range(half, size, 2)]
    rows = [
        h * width + (c if c < attn.nope_dim else attn.nope_dim + order[c - attn.nope_dim])
        for h in range(attn.num_heads)
        for c in range(width)
    ]
    attn.q_up.weight.copy_(attn.q_up.weight[rows].clone())


def half_turned(m: Any) -> None:
    attn = m.layers[0].attn
    attn.rope = Rope(attn.head_dim, m.config.rope, m.config.max_seq_len, is_interleaved=False)


def unscaled_head(m: Any) -> None:
    m.logits = types.MethodType(lambda self, x: self.lm_head(self.decoder_norm(x)), m)


def swapped_below(m: Any) -> None:
    mlp = m.decoder.layers[1].mlp
    gate, up = mlp.gate_proj.weight.clone(), mlp.up_proj.weight.clone()
    mlp.gate_proj.weight.copy_(up)
    mlp.up_proj.weight.copy_(gate)


def scaled_cross(m: Any) -> None:
    m.decoder.layers[1].cross.attend.scale = 1.0


def flipped_cross(m: Any) -> None:
    weight = m.decoder.layers[1].cross.q_proj.weight
    weight.copy_(weight.T.clone())


def tanh_gelu(m: Any) -> None:
    m.layers[1].mlp.act = lambda x: F.gelu(x, approximate="tanh")


def gelu_in_tower(m: Any) -> None:
    m.vision.layers[1].mlp.act = F.gelu


def eps_of_layernorms(m: Any) -> None:
    m.layers[0].attn_norm.eps = m.layers[0].mlp_norm.eps = 1e-5


YARN = RopeConfig(theta=1000.0, scaling="yarn", factor=4.0, original_max_seq_len=16)


def lukewarm(m: Any) -> None:
    rope = copy.copy(m.layers[1].attn.rope)
    rope.factor = 1.0
    m.layers[1].attn.rope = rope


GATED = (("is_gated", True), ("activation", "gelu_tanh"), ("tie_embeddings", False), ("scale_outputs", False))
GEMMA2 = (("generation", 2), ("local_rope", RopeConfig(theta=5000.0)))
GEMMA3 = (("attn_softcap", None),)  # as released; transformers reads a cap of Gemma 3's and does not apply it

SEEDS = (
    Seed("rotary pairs for halves", "rotary halves and pairs", "llama", "layers.1", turned),
    Seed("q and k rows in pairs", "q/k permuted", "llama", "layers.1", unpermuted),
    Seed("k rows alone in pairs", "q/k permuted", "llama", "layers.1", unpermuted_key),
    Seed("o_proj transposed", "square matrix transposed", "gpt2", "layers.1", flipped),
    Seed("norm without +1", "norm with and without +1", "gemma", "layers.1", plain_norm, GEMMA3),
    Seed("norm with +1 twice", "norm with and without +1", "gemma", "layers.2", added_twice, GEMMA3),
    Seed("gate and up swapped", "gate and up swapped", "llama", "layers.1", swapped),
    Seed("gate and up of experts swapped", "gate and up swapped", "mixtral", "layers.0", swapped_experts),
    Seed("embeddings not scaled", "missing embedding scale", "gemma", "", unscaled, GEMMA3),
    Seed("embeddings scaled", "missing embedding scale", "llama", "", scaled),
    Seed("base of another model", "rotary base and stretch", "llama", "layers.1", another_base),
    Seed("scale from the width", "attention scale and YaRN mscale", "llama", "layers.1", by_width),
    Seed("scores not scaled", "attention scale and YaRN mscale", "gpt2", "layers.0", unscaled_scores),
    Seed("mscale left out of the scale", "attention scale and YaRN mscale", "deepseek", "layers.1", cold),
    Seed("mscale left out of cos and sin", "attention scale and YaRN mscale", "llama", "layers.1", lukewarm,
         (("rope", YARN),)),
    Seed("window one too wide", "window off by one", "mistral", "layers.1", wider),
    Seed("window one too narrow", "window off by one", "mistral", "layers.1", narrower),
    Seed("exact GELU for tanh", "GELU kind", "gpt2", "layers.1", exact_gelu),
    Seed("quick GELU", "GELU kind", "gpt2", "layers.0", quick),
    Seed("eps of a layer", "eps", "llama", "layers.1", another_eps),
    Seed("eps of one norm", "eps", "llama", "layers.1", eps_of_one_norm),
    Seed("head tied", "head tied or not", "llama", "", tied),
    Seed("head not tied", "head tied or not", "llama", "", untied, (("tie_embeddings", True),)),
    Seed("experts not renormalised", "router normalisation", "qwen3_moe", "layers.2", raw_weights),
    Seed("experts renormalised", "router normalisation", "qwen2_moe", "layers.2", raw_weights),
    Seed("experts not scaled", "router normalisation", "deepseek", "layers.2", unscaled_experts),
    Seed("scores not capped", "softcap", "gemma", "layers.1", uncapped, GEMMA2),
    Seed("latent queries in halves", "q/k permuted", "deepseek", "layers.1", latent_rows),
    Seed("half-rotary halves for pairs", "rotary halves and pairs", "glm", "layers.0", half_turned),
    Seed("T5's head not scaled", "head tied or not", "t5", "", unscaled_head),
    Seed("gate and up swapped in a decoder", "gate and up swapped", "t5", "decoder.layers.1", swapped_below, GATED),
    Seed("cross-attention not scaled", "attention scale and YaRN mscale", "transformer", "decoder.layers.1",
         scaled_cross),
    Seed("cross-attention transposed", "square matrix transposed", "transformer", "decoder.layers.1", flipped_cross),
    Seed("tanh GELU for exact", "GELU kind", "bert", "layers.1", tanh_gelu),
    Seed("GELU in a tower", "GELU kind", "clip", "vision.layers.1", gelu_in_tower),
    Seed("eps of LayerNorms", "eps", "bert", "layers.0", eps_of_layernorms),
    Seed("logits not capped", "softcap", "gemma", "", uncapped_logits, GEMMA2),
    Seed("MLP beside attention", "block order", "llama", "layers.1", side_by_side),
    Seed("one norm for two", "block order", "gpt2", "layers.0", behind_one_norm),
    Seed("norms before branches for after sums", "block order", "bert", "layers.1", before_branches),
    Seed("fewer channels rotate", "rotary share", "llama", "layers.1", fewer_channels),
    Seed("frequencies of the whole head", "rotary share", "glm", "layers.1", frequencies_of_the_head),
    Seed("the other way round", "rotary direction", "llama", "layers.1", backwards),
    Seed("no bias", "bias left out", "gpt2", "layers.1", without_bias),
    Seed("a bias too many", "bias left out", "llama", "layers.1", with_bias),
    Seed("LayerNorm for RMSNorm", "RMSNorm and LayerNorm", "llama", "layers.1", mean_off),
    Seed("keys and values exchanged", "fused rows", "gpt2", "layers.1", values_for_keys),
    Seed("q, k and v cut by parts", "fused rows", "bloom", "layers.1", cut_by_parts),
    Seed("gate and up cut by rows", "fused rows", "llama", "layers.1", cut_by_rows),
    Seed("an MLP without its norm", "block order", "llama", "layers.1", unnormed_mlp),
    Seed("a mask in an encoder", "causal mask", "bert", "layers.1", one_way),
)  # fmt: skip
