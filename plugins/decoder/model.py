"""One decoder whose parts are chosen apart, each as in the paper or family that it comes from.

Every name of a weight is that of the family that has the part, so that weights of `llama`, `gpt2`, `gemma`, ... fit the
sandbox with the same parts, and give the same numbers.

Shapes: B batch, T queries, D hidden, V vocab.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.nn import (
    ACTIVATIONS,
    MLP,
    Alibi,
    Attention,
    Cache,
    Decoder,
    DualChunkAttention,
    Experts,
    GatedMLP,
    LatentAttention,
    MoE,
    RelativeBias,
    RMSNorm,
    SettledCache,
    SigmoidRouter,
    SoftmaxRouter,
    Span,
    UnitOffsetRMSNorm,
    causal,
    initialise,
    sliding,
)

from .blocks import block
from .config import SandboxConfig
from .positions import Rotations, added_positions, prefix_reach, score_bias

NORMS = {"layernorm": nn.LayerNorm, "rmsnorm": RMSNorm, "rmsnorm_unit_offset": UnitOffsetRMSNorm}


class Sandbox(Decoder):
    """Embedding, positions that are added to it if they are of that kind, a stack of layers, head."""

    is_plain_stack = True

    def __init__(self, c: SandboxConfig) -> None:
        norm = partial(NORMS[c.norm.kind], eps=c.norm.eps)
        rotations, bias = Rotations(c), score_bias(c)
        # What leaves a post-norm layer is normed already (arXiv:1706.03762).
        last = nn.Identity() if c.block.kind in ("post", "deepnorm") else norm(c.hidden_size)
        layers = (block(c, attention(c, i, norm, rotations, bias), mlp(c, i), norm) for i in range(c.num_layers))
        super().__init__(c, layers, last)
        self.embed_norm = norm(c.hidden_size) if c.norm_embeddings else None
        self.position_embed = added_positions(c)
        self.prefix_token = c.attention.prefix_token
        self.max_positions = c.max_seq_len if c.position.kind == "learned" else None
        self.is_scaled, self.softcap = c.scale_embeddings, c.final_softcap
        self.gain = (8 * c.num_layers) ** -0.25 if c.block.kind == "deepnorm" else None

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """What enters the stack, [B, T, D]. Raises UsageError beyond the last learned position."""
        x = self.embed(tokens)
        if self.is_scaled:
            x = x * torch.full((), x.shape[-1] ** 0.5, dtype=x.dtype, device=x.device)
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        if self.position_embed is not None:
            x = x + self.position_embed(span).to(x.dtype)
        if self.prefix_token is not None:
            span.reach = prefix_reach(tokens, span, self.prefix_token)
        return x

    def read(self, x: Tensor, span: Span, *, cache: Cache | None = None, last: bool = False) -> Tensor:
        """Logits as of any decoder; a prefix is kept whole in the cache."""
        logits = super().read(x, span, cache=cache, last=last)
        if span.reach is not None and isinstance(cache, SettledCache):
            cache.settle()
        return logits

    def decode(self, x: Tensor) -> Tensor:
        """Logits, capped where the model is."""
        logits = self.lm_head(x)
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap

    @property
    def markers(self) -> frozenset[int]:
        """Tokens that change what those before them see, so that a draft may not guess them."""
        return frozenset([] if self.prefix_token is None else [self.prefix_token])

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache, no longer than there are learned positions, so that what does not fit is refused early."""
        max_len = min(max_len, self.max_positions or max_len)
        kind = Cache if self.prefix_token is None else SettledCache
        return kind([layer.new_cache(batch_size, max_len) for layer in self.layers], batch_size, max_len)

    def reset_parameters(self) -> None:
        """Random weights; DeepNorm shrinks those of values, outputs and MLPs by (8 num_layers)^(-1/4)."""
        initialise(self)
        if self.gain is None:
            return
        ends = ("v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if name.removesuffix(".weight").endswith(ends):
                    weight.mul_(self.gain)


def attention(
    c: SandboxConfig, layer: int, norm: Any, rotations: Rotations, bias: Alibi | RelativeBias | None
) -> nn.Module:
    p, window = c.attention, c.window_of(layer)
    biases = {"has_bias": p.has_bias, "has_out_bias": p.has_out_bias, "qk_norm": norm if p.has_qk_norm else None}
    if p.kind == "mla":
        return LatentAttention(
            c.hidden_size, c.num_heads, rope=rotations.everywhere, q_lora_rank=p.q_lora_rank, has_bias=p.has_bias,
            kv_lora_rank=p.kv_lora_rank, nope_head_dim=p.nope_head_dim, rope_head_dim=p.rope_head_dim,
            v_head_dim=p.v_head_dim, scale=c.scale, bias=bias,
        )  # fmt: skip
    heads = c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim
    if rotations.chunked is not None:
        original = p.original_max_seq_len
        return DualChunkAttention(*heads, rope=rotations.chunked, original_max_seq_len=original, **biases)
    rope, mask = (rotations.everywhere, causal) if window is None else (rotations.local, sliding(window))
    return Attention(*heads, rope=rope, mask=mask, scale=c.scale, softcap=p.softcap, bias=bias, **biases)


def mlp(c: SandboxConfig, layer: int) -> nn.Module:
    act = ACTIVATIONS[c.mlp.activation]
    if c.mlp.kind == "plain":
        return MLP(c.hidden_size, c.intermediate_size, act, bias=c.mlp.has_bias)
    if not c.has_experts(layer):
        return GatedMLP(c.hidden_size, c.intermediate_size, act, bias=c.mlp.has_bias)
    shared = GatedMLP(c.hidden_size, c.shared_size, act) if c.shared_size else None
    gate = nn.Linear(c.hidden_size, 1, bias=False) if c.mlp.has_shared_gate else None
    return MoE(router(c), Experts(c.mlp.num_experts, c.hidden_size, c.expert_size, act), shared, gate)


def router(c: SandboxConfig) -> nn.Module:
    p = c.mlp
    kind = SigmoidRouter if p.scoring == "sigmoid" else partial(SoftmaxRouter, is_float32=p.is_router_float32)
    return kind(
        c.hidden_size, p.num_experts, p.experts_per_token, is_renormalised=p.is_renormalised, scale=p.routed_scale,
        num_groups=p.num_groups, groups_per_token=p.groups_per_token,
    )  # fmt: skip
