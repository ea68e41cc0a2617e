"""Qwen-VL's tower and resampler as its remote code stores them; apart from `v1_hf` for its length."""

from __future__ import annotations

from zoo.weights import Entry, key, rename, rule, split, split_heads, transpose, under

from .config import VisualConfig

VISION_KEYS = (
    key("hidden_size", "width"),
    key("mlp_ratio"),
    key("num_layers", "layers"),
    key("num_heads", "heads"),
    key("image_size"),
    key("patch_size"),
    key("num_queries", "n_queries", default=256),
    key("image_start_id"),
)
QKV = ("q_proj", "k_proj", "v_proj")


def visual_rules(v: VisualConfig, size: int) -> list[Entry]:
    """The tensors below `visual`, whose output has width `size`."""
    head = v.hidden_size // v.num_heads
    per_head = split_heads(v.num_heads, head, head, head)
    eye = under(
        "layers.{i}", "transformer.resblocks.{i}",
        rename("attn_norm", "ln_1"),
        *(rule(tuple(f"attn.{n}.{kind}" for n in QKV), f"attn.in_proj.{kind}", per_head)
          for kind in ("weight", "bias")),
        rename("attn.o_proj", "attn.out_proj"),
        rename("mlp_norm", "ln_2"),
        rename("mlp.up_proj", "mlp.c_fc"),
        rename("mlp.down_proj", "mlp.c_proj"),
    )  # fmt: skip
    resampler = under(
        "resampler", "attn_pool",
        rename("queries", "query"),
        rename("positions", "pos_embed"),
        rename("kv_proj", "kv_proj"),
        rename("q_norm", "ln_q"),
        rename("kv_norm", "ln_kv"),
        *(rule(tuple(f"attn.{n}.{kind}" for n in QKV), f"attn.in_proj_{kind}", split(size, size, size))
          for kind in ("weight", "bias")),
        rename("attn.o_proj", "attn.out_proj"),
    )  # fmt: skip
    tower = (
        rename("embed.patches", "conv1"), rename("embed.positions.weight", "positional_embedding"),
        rename("embed_norm", "ln_pre"), *eye,
    )  # fmt: skip
    return [*under("tower", "", *tower), *resampler, rename("norm", "ln_post"), rule("proj.weight", "proj", transpose)]
