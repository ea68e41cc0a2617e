"""What a mixed decoder is made of, part by part; apart from `config` for its length."""

from __future__ import annotations

from zoo.anatomy import GATED, Anatomy, heads_in_words, mlp_in_words, rope_in_words

from .fields import SandboxFields

NORM_WORDS = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm", "rmsnorm_unit_offset": "RMSNorm (1 + w)"}
BLOCK_WORDS = {
    "pre": "norm → attention → + → norm → MLP → +",
    "post": "attention → + → norm → MLP → + → norm",
    "sandwich": "norm → attention → norm → + → norm → MLP → norm → +",
    "parallel": "norm → attention and MLP side by side → +",
    "deepnorm": "attention → + α × skip → norm → MLP → + α × skip → norm",
}
PLACES = {"pre": "pre", "post": "post", "sandwich": "pre and post", "parallel": "pre", "deepnorm": "post (DeepNorm)"}
LAYER_NORMS = {
    "pre": ("attn_norm", "mlp_norm"),
    "post": ("attn_norm", "mlp_norm"),
    "sandwich": ("attn_norm", "attn_post_norm", "mlp_norm", "mlp_post_norm"),
    "parallel": ("norm",),
    "deepnorm": ("attn_norm", "mlp_norm"),
}


def describe(c: SandboxFields) -> Anatomy:
    """The whole decoder."""
    a, layers = Anatomy(max_seq_len=c.max_seq_len), range(c.num_layers)
    a.embedding("embed", c.vocab_size, c.hidden_size)
    if c.norm_embeddings:
        norm(c, a, "embed_norm", c.hidden_size)
    if c.position.kind == "learned":
        a.embedding("position_embed", c.max_seq_len, c.hidden_size, "position")
    with a.under("layers.{i}", layers):
        for name in LAYER_NORMS[c.block.kind]:
            norm(c, a, name, c.hidden_size)
        attention(c, a)
    if c.position.kind == "t5":
        with a.under("layers.{i}", layers[:1]):  # all layers share the first one's
            a.relative_bias(c.position.num_buckets, c.num_heads)
    for sparse in (False, True):
        with a.under("layers.{i}", [i for i in layers if c.has_experts(i) == sparse]):
            mlp(c, a, sparse)
    attends(c, a)
    if c.block.kind not in ("post", "deepnorm"):
        norm(c, a, "norm", c.hidden_size)
    a.head(c.vocab_size, c.hidden_size, tied=c.tie_embeddings)
    a.traits = traits(c)
    return a


def norm(c: SandboxFields, a: Anatomy, name: str, dim: int) -> None:
    a.norm(name, dim, bias=c.norm.kind == "layernorm")


def attention(c: SandboxFields, a: Anatomy) -> None:
    """The projections of one layer."""
    p = c.attention
    if p.kind == "mla":
        a.latent_attn(
            c.hidden_size, c.num_heads, q_lora_rank=p.q_lora_rank, kv_lora_rank=p.kv_lora_rank,
            nope_head_dim=p.nope_head_dim, rope_head_dim=p.rope_head_dim, v_head_dim=p.v_head_dim, bias=p.has_bias,
        )  # fmt: skip
        return
    a.attn(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, bias=p.has_bias, out_bias=p.has_out_bias)
    if p.has_qk_norm:
        with a.under("attn"):
            norm(c, a, "q_norm", c.head_dim)
            norm(c, a, "k_norm", c.head_dim)


def attends(c: SandboxFields, a: Anatomy) -> None:
    """What attention costs and caches, layer by layer."""
    p, layers = c.attention, range(c.num_layers)
    if p.kind == "mla":
        cached = p.kv_lora_rank + p.rope_head_dim
        qk_dim = p.nope_head_dim + p.rope_head_dim
        a.attends_latent(layers, c.num_heads, qk_dim, p.v_head_dim, cached, rank=p.kv_lora_rank)
        return
    for window in dict.fromkeys(map(c.window_of, layers)):
        alike = [i for i in layers if c.window_of(i) == window]
        a.attends(alike, c.num_heads, c.num_kv_heads, c.head_dim, window=window)


def mlp(c: SandboxFields, a: Anatomy, sparse: bool) -> None:
    """The MLP of one layer."""
    if sparse:
        a.moe(
            c.hidden_size, c.expert_size, c.mlp.num_experts, c.mlp.experts_per_token, shared_size=c.shared_size,
            has_router_bias=c.mlp.scoring == "sigmoid", has_shared_gate=c.mlp.has_shared_gate,
        )  # fmt: skip
    elif c.mlp.kind == "plain":
        a.mlp(c.hidden_size, c.intermediate_size, bias=c.mlp.has_bias)
    else:
        a.gated_mlp(c.hidden_size, c.intermediate_size, bias=c.mlp.has_bias)


def traits(c: SandboxFields) -> dict[str, str]:
    """Each part in words."""
    both = ", also on q and k" if c.attention.has_qk_norm else ""
    entry = ", and after the embedding" if c.norm_embeddings else ""
    return {
        "attention": attention_in_words(c),
        "position": position_in_words(c),
        "norm": f"{NORM_WORDS[c.norm.kind]}, {PLACES[c.block.kind]}{entry}{both}",
        "block": BLOCK_WORDS[c.block.kind],
        "mlp": _mlp(c),
    }


def attention_in_words(c: SandboxFields) -> str:
    p = c.attention
    prefix = "" if p.prefix_token is None else f", both ways before token {p.prefix_token}"
    if p.kind == "mla":
        return f"MLA {p.kv_lora_rank} + {p.rope_head_dim}{prefix}"
    words = heads_in_words(c.num_heads, c.num_kv_heads) + prefix
    if p.kind == "dca":
        words += f", dual chunks of {p.chunk_size}"
    if p.sliding_window is not None:
        words += f", window {p.sliding_window}"
    if p.local_per_global is not None:
        words += f" in {p.local_per_global} of {p.local_per_global + 1} layers"
    return words


def position_in_words(c: SandboxFields) -> str:
    local = f", local {rope_in_words(c.local_rope).removeprefix('RoPE ')}" if c.has_local_rope else ""
    return {
        "none": "none",
        "sinusoidal": "sinusoidal",
        "learned": f"learned {c.max_seq_len}",
        "rope": rope_in_words(c.rope) + local,
        "alibi": "ALiBi",
        "t5": f"bias per distance, {c.position.num_buckets} buckets",
    }[c.position.kind]


def _mlp(c: SandboxFields) -> str:
    if c.mlp.kind in ("plain", "gated"):
        return mlp_in_words(c.mlp.activation, c.intermediate_size, is_gated=c.mlp.kind == "gated")
    gated = GATED[c.mlp.activation]
    p, shared = c.mlp, f"+{c.mlp.num_shared_experts}" if c.mlp.num_shared_experts else ""
    groups = f" of {p.groups_per_token}/{p.num_groups} groups" if p.num_groups > 1 else ""
    return f"{gated} MoE {p.num_experts}{shared} × {c.expert_size}, top {p.experts_per_token}{groups}, {p.scoring}"
