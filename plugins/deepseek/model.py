"""DeepSeek-V2 (arXiv:2405.04434) and V3 (arXiv:2412.19437), R1 (arXiv:2501.12948) being the latter.

Where papers and code differ, the code that DeepSeek released with the weights is followed: the low-rank norms use an
epsilon of 1e-6 whatever the model's, V2 normalises the weights of its experts *instead of* scaling them, V3 masks the
groups that were not chosen with -inf, and the multi-token prediction module joins (embedding, hidden state) in that
order, where equation 21 of V3's paper has it reversed.

Shapes: B batch, T queries, D hidden, V vocab.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import (
    Cache,
    Decoder,
    Experts,
    GatedMLP,
    KVCache,
    LatentAttention,
    MoE,
    PreNormLayer,
    RMSNorm,
    Rope,
    SigmoidRouter,
    SoftmaxRouter,
    Span,
)

from .ahead import ModulesDraft, StatesCache
from .config import DeepSeekConfig


class DeepSeek(Decoder):
    """Pre-norm layers of latent attention and a mixture of experts, the first few with a plain MLP."""

    def __init__(self, c: DeepSeekConfig) -> None:
        rope = Rope(c.rope_head_dim, c.rope, c.max_seq_len, is_interleaved=c.rope_interleaved)
        super().__init__(c, (layer(c, i, rope) for i in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))
        self.mtp = nn.ModuleList(MTP(c, layer(c, c.num_layers + k, rope)) for k in range(c.num_mtp_layers))

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache, which can keep the states that modules for multi-token prediction guess from."""
        kind = StatesCache if self.mtp else Cache
        return kind([block.new_cache(batch_size, max_len) for block in self.layers], batch_size, max_len)

    def own_draft(self) -> ModulesDraft | None:
        """What guesses with the model's own modules; None where there are none."""
        return ModulesDraft(list(self.mtp)) if self.mtp else None

    def read(self, x: Tensor, span: Span, *, cache: Cache | None = None, last: bool = False) -> Tensor:
        """Logits as of any decoder; a cache that is asked to keeps the states of the last norm."""
        if not isinstance(cache, StatesCache) or cache.states is None:
            return super().read(x, span, cache=cache, last=last)
        for block, held in zip(self.layers, cache.layers, strict=True):
            x = block(x, span, held)
        cache.advance(span)
        x = self.norm(x)
        cache.keep(x, span)
        return self.decode(span.last(x) if last else x)

    def predict_ahead(self, tokens: Tensor, *, attention_mask: Tensor | None = None) -> list[Tensor]:
        """Logits of the multi-token prediction modules for tokens [B, T]: [B, T - 1, V], [B, T - 2, V], ...

        Where `forward` guesses token t + 1 from position t, column t of module k's logits guesses token t + k + 2 from
        tokens 0 to t + k + 1. Module 0 takes up the main model's states after its final norm, each further module those
        that the one before has normed for its own head. Computed without a cache.
        Raises UsageError for a model that was loaded without modules, and for fewer tokens than those need.
        """
        if not self.mtp:
            hint = "load them: zoo.load(source, 'model.num_mtp_layers=1')"
            raise UsageError("the model has no multi-token prediction modules", hint=hint)
        if tokens.shape[1] <= len(self.mtp):
            raise UsageError(f"{tokens.shape[1]} tokens are too few to predict {len(self.mtp)} tokens ahead")
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
        x = self.encode(tokens, span)
        for block in self.layers:
            x = block(x, span)
        x, logits = self.norm(x), []
        for module in self.mtp:
            tokens, x = tokens[:, 1:], x[:, :-1]
            if attention_mask is not None:  # a pair of state and token is real where both are
                attention_mask = attention_mask[:, :-1].bool() & attention_mask[:, 1:].bool()
            span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
            x, guess = module(x, tokens, span)
            logits.append(guess)
        return logits


class MTP(nn.Module):
    """A multi-token prediction module: one more layer, on what the last has made of a token and on the next token.

    Embedding and head are copies of the main model's in the released weights; they are kept apart, as in the files.
    """

    def __init__(self, c: DeepSeekConfig, block: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Embedding(c.vocab_size, c.hidden_size)
        self.embed_norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.hidden_norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.proj = nn.Linear(2 * c.hidden_size, c.hidden_size, bias=False)
        self.layer = block
        self.norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def forward(self, x: Tensor, tokens: Tensor, span: Span, cache: KVCache | None = None) -> tuple[Tensor, Tensor]:
        """States x [B, T, D] and the tokens [B, T] that follow them to normed states [B, T, D] and logits [B, T, V]."""
        pair = torch.cat((self.embed_norm(self.embed(tokens)), self.hidden_norm(x)), -1)
        x = self.norm(self.layer(self.proj(pair), span, cache))
        return x, self.lm_head(x)


def layer(c: DeepSeekConfig, number: int, rope: Rope) -> PreNormLayer:
    return PreNormLayer(
        attn=LatentAttention(
            c.hidden_size, c.num_heads, rope=rope, q_lora_rank=c.q_lora_rank, kv_lora_rank=c.kv_lora_rank,
            nope_head_dim=c.nope_head_dim, rope_head_dim=c.rope_head_dim, v_head_dim=c.v_head_dim,
            scale=c.softmax_scale, has_bias=c.attention_bias,
        ),
        mlp=experts(c) if c.has_experts(number) else GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )  # fmt: skip


def experts(c: DeepSeekConfig) -> MoE:
    shared = GatedMLP(c.hidden_size, c.shared_size, F.silu) if c.shared_size else None
    return MoE(router(c), Experts(c.num_experts, c.hidden_size, c.moe_intermediate_size), shared)


def router(c: DeepSeekConfig) -> nn.Module:
    sizes = c.hidden_size, c.num_experts, c.experts_per_token
    groups = {"num_groups": c.num_groups, "groups_per_token": c.groups_per_token}
    if c.scoring == "sigmoid":
        return SigmoidRouter(*sizes, **groups, is_renormalised=c.is_renormalised, scale=c.routed_scale)
    scale = 1.0 if c.is_renormalised else c.routed_scale
    return SoftmaxRouter(*sizes, **groups, is_renormalised=c.is_renormalised, scale=scale, is_float32=True)
