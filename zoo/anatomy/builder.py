"""What a model is made of: its weights by name and shape, its attention, its traits. Needs no torch.

A family describes itself once in `ModelConfig.anatomy`; listing, sizing, comparing and inspecting read the
description, and the contract proves it equal to the module that the family builds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from zoo.anatomy.cuts import BIAS_PER_HEAD, EQUAL_HEADS, FEED_FORWARD, GROUPED_HEADS, LATENT_HEADS, STACKED_EXPERTS
from zoo.anatomy.records import AttentionSpec, CrossSpec, Description, Shape, StateSpec, Weight

__all__ = ["Anatomy", "AttentionSpec", "CrossSpec", "StateSpec", "Weight"]


class Anatomy(Description):
    """A description under construction; the block methods mirror the modules of zoo.nn."""

    def linear(self, name: str, n_in: int, n_out: int, role: str, *, bias: bool = False) -> None:
        self.weight(f"{name}.weight", (n_out, n_in), role, is_matmul=True)
        if bias:
            self.weight(f"{name}.bias", (n_out,), role)

    def embedding(self, name: str, rows: int, dim: int, role: str = "embedding") -> None:
        self.weight(f"{name}.weight", (rows, dim), role)

    def norm(self, name: str, dim: int, *, bias: bool = False, role: str = "norm") -> None:
        self.weight(f"{name}.weight", (dim,), role)
        if bias:
            self.weight(f"{name}.bias", (dim,), role)

    def head(self, vocab_size: int, hidden_size: int, *, tied: bool, name: str = "lm_head", bias: bool = False) -> None:
        """An output projection; a tied one has no matrix of its own but costs the same compute."""
        if tied:
            self.tied_head = (vocab_size, hidden_size)
        else:
            self.linear(name, hidden_size, vocab_size, "head")
        self._mark_head("embedding" if tied else "head", (vocab_size, hidden_size), is_read=name in self._read)
        if bias:
            self.weight(f"{name}.bias", (vocab_size,), "head")

    def _mark_head(self, role: str, shape: Shape, *, is_read: bool) -> None:
        """Say of the last weight of a role that it gives the logits; not where the model reads its numbers itself."""
        found = [i for i, weight in enumerate(self.weights) if weight.role == role and weight.shape == shape]
        if found and not is_read:
            self.weights[found[-1]] = replace(self.weights[found[-1]], gives_logits=True)

    def attn(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        name: str = "attn",
        bias: bool = False,
        out_bias: bool | None = None,
        qk_norm: bool = False,
        is_whole: bool = False,
        role: str = "attention",
    ) -> None:
        """Weights of zoo.nn.Attention, `is_whole` of WholeAttention; say how it attends with `attends`."""
        with self.under(name, cuts=() if is_whole else GROUPED_HEADS, num_heads=num_heads, num_kv_heads=num_kv_heads):
            self.linear("q_proj", hidden_size, num_heads * head_dim, role, bias=bias)
            self.linear("k_proj", hidden_size, num_kv_heads * head_dim, role, bias=bias)
            self.linear("v_proj", hidden_size, num_kv_heads * head_dim, role, bias=bias)
            self.linear("o_proj", num_heads * head_dim, hidden_size, role, bias=bias if out_bias is None else out_bias)
            if qk_norm:
                self.norm("q_norm", head_dim)
                self.norm("k_norm", head_dim)

    def relative_bias(self, num_buckets: int, num_heads: int, *, name: str = "attn.bias") -> None:
        """Weights of zoo.nn.RelativeBias."""
        with self.under(name, cuts=BIAS_PER_HEAD, num_heads=num_heads):
            self.weight("weight", (num_buckets, num_heads), "position")

    def cross_attn(
        self, hidden_size: int, num_heads: int, head_dim: int, *, name: str = "cross", bias: bool = False
    ) -> None:
        """Weights of zoo.nn.CrossAttention in the layers at hand, and that these attend to the source with them."""
        width, role = num_heads * head_dim, "attention"
        with self.under(name, cuts=EQUAL_HEADS, num_heads=num_heads):
            self.linear("q_proj", hidden_size, width, role, bias=bias)
            with self.of_the_source():
                self.linear("k_proj", hidden_size, width, role, bias=bias)
                self.linear("v_proj", hidden_size, width, role, bias=bias)
            self.linear("o_proj", width, hidden_size, role, bias=bias)
        self.cross.append(CrossSpec(self._layers or (), num_heads, head_dim, cached=2 * width))

    def attends(
        self,
        layers: Iterable[int],
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        window: int | None = None,
        is_causal: bool = True,
        is_cached: bool = True,
        is_borrowing: bool = False,
        is_whole: bool = False,
        is_chunked: bool = False,
        stack: str = "layers",
    ) -> None:
        """Say that `layers` attend with keys and values of `num_kv_heads` heads, both of width `head_dim`.

        Borrowed from an earlier layer, these are not cached a second time. `is_chunked`: see zoo.nn.ChunkMask.
        """
        cached = 2 * num_kv_heads * head_dim if is_cached and not is_borrowing else 0
        told = {"is_of_source": self._is_of_source, "is_borrowing": is_borrowing, "is_whole": is_whole}
        told["is_chunked"] = is_chunked and window is not None
        spec = AttentionSpec(tuple(layers), num_heads, head_dim, head_dim, cached, window, is_causal, stack, **told)
        self.attention.append(spec)

    def carries(
        self,
        layers: Iterable[int],
        numbers: int,
        *,
        is_wide: bool = False,
        flops: int = 0,
        width: int = 0,
        stack: str = "layers",
    ) -> None:
        """Say that `layers` carry a state of `numbers` numbers per row from token to token; see StateSpec."""
        self.states.append(StateSpec(tuple(layers), numbers, is_wide, flops, width, stack))

    def gated_mlp(
        self, hidden_size: int, intermediate_size: int, *, name: str = "mlp", bias: bool = False, role: str = "mlp"
    ) -> None:
        with self.under(name, cuts=FEED_FORWARD):
            self.linear("gate_proj", hidden_size, intermediate_size, role, bias=bias)
            self.linear("up_proj", hidden_size, intermediate_size, role, bias=bias)
            self.linear("down_proj", intermediate_size, hidden_size, role, bias=bias)

    def mlp(
        self, hidden_size: int, intermediate_size: int, *, name: str = "mlp", bias: bool = True, role: str = "mlp"
    ) -> None:
        with self.under(name, cuts=FEED_FORWARD):
            self.linear("up_proj", hidden_size, intermediate_size, role, bias=bias)
            self.linear("down_proj", intermediate_size, hidden_size, role, bias=bias)

    def moe(
        self,
        hidden_size: int,
        intermediate_size: int,
        num_experts: int,
        experts_per_token: int,
        *,
        name: str = "mlp",
        shared_size: int | None = None,
        has_router_bias: bool = False,
        has_shared_gate: bool = False,
    ) -> None:
        """Weights of zoo.nn.MoE, whose `shared` expert has width `shared_size`."""
        share = experts_per_token / num_experts
        with self.under(name):
            self.weight("router.weight", (num_experts, hidden_size), "router", is_matmul=True)
            if has_router_bias:
                self.weight("router.bias", (num_experts,), "router", is_exact=True)
            with self.under("experts", cuts=STACKED_EXPERTS, num_experts=num_experts):
                wide, narrow = (
                    (num_experts, intermediate_size, hidden_size),
                    (num_experts, hidden_size, intermediate_size),
                )
                for part, shape in (("gate_proj", wide), ("up_proj", wide), ("down_proj", narrow)):
                    self.weight(part, shape, "experts", used=share, is_matmul=True)
            if shared_size is not None:
                self.gated_mlp(hidden_size, shared_size, name="shared")
            if has_shared_gate:
                self.weight("shared_gate.weight", (1, hidden_size), "router", is_matmul=True)

    def latent_attn(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        q_lora_rank: int | None,
        kv_lora_rank: int,
        nope_head_dim: int,
        rope_head_dim: int,
        v_head_dim: int,
        name: str = "attn",
        bias: bool = False,
    ) -> None:
        """Weights of zoo.nn.LatentAttention; say how it attends with `attends_latent`."""
        qk_dim, role = nope_head_dim + rope_head_dim, "attention"
        with self.under(name, cuts=LATENT_HEADS, num_heads=num_heads):
            if q_lora_rank is None:
                self.linear("q_proj", hidden_size, num_heads * qk_dim, role)
            else:
                self.linear("q_down", hidden_size, q_lora_rank, role, bias=bias)
                self.norm("q_norm", q_lora_rank)
                self.linear("q_up", q_lora_rank, num_heads * qk_dim, role)
            self.linear("kv_down", hidden_size, kv_lora_rank + rope_head_dim, role, bias=bias)
            self.norm("kv_norm", kv_lora_rank)
            self.linear("kv_up", kv_lora_rank, num_heads * (nope_head_dim + v_head_dim), role)
            self.linear("o_proj", num_heads * v_head_dim, hidden_size, role, bias=bias)

    def attends_latent(
        self,
        layers: Iterable[int],
        num_heads: int,
        qk_dim: int,
        v_dim: int,
        cached: int,
        *,
        rank: int | None = None,
        stack: str = "layers",
    ) -> None:
        """Say that `layers` attend with heads of `qk_dim` and `v_dim` and cache `cached` numbers per token.

        A single token attends to the cached latents of width `rank` themselves, through absorbed matrices.
        """
        decode_dims = None if rank is None else (cached, rank)
        self.attention.append(
            AttentionSpec(tuple(layers), num_heads, qk_dim, v_dim, cached, stack=stack, decode_dims=decode_dims)
        )
