"""DeepSeek-V2 and V3 as llama.cpp stores them.

Older files keep the up-projection of the latent whole, and the widths of heads that were rebuilt from it; newer ones
keep it as two tensors, one of them transposed, and the widths of heads that were not.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, ForeignConfig, Key, Table, key, must_be, rename, rule, under, write_keys
from zoo.weights.gguf.experts import EXPERTS, SIGMOID, SOFTMAX, expert_keys, width_key
from zoo.weights.gguf.layout import MLP, WHERE, by_architecture, decoder_keys, fixed, norm_eps, read_rest, read_size
from zoo.weights.gguf.layout import write_rest as write_special
from zoo.weights.gguf.ops import split_latent
from zoo.weights.gguf.rope import read_rope, temperature_key, write_rope

from .config import DeepSeekConfig

ARCH = "deepseek2"
ATTENTION = f"{ARCH}.attention"
KEYS: tuple[Key, ...] = (
    *(k for k in decoder_keys(ARCH) if k.ours not in ("num_kv_heads", "head_dim")),
    key("q_lora_rank", f"{ATTENTION}.q_lora_rank", default=None, is_told=False),
    key("kv_lora_rank", f"{ATTENTION}.kv_lora_rank"),
    key("rope_head_dim", f"{ARCH}.rope.dimension_count"),
    *expert_keys(ARCH),
    width_key(ARCH),
    key("num_dense_layers", f"{ARCH}.leading_dense_block_count", default=0),
    key("num_shared_experts", f"{ARCH}.expert_shared_count"),
    key("is_renormalised", f"{ARCH}.expert_weights_norm", default=False),
    key("routed_scale", f"{ARCH}.expert_weights_scale", default=1.0),
    key("num_groups", f"{ARCH}.expert_group_count", default=1),
    key("groups_per_token", f"{ARCH}.expert_group_used_count", default=1),
)
GATING = f"{ARCH}.expert_gating_func"
LITE = (26, 27)  # layers of the models whose queries are not squeezed
SCORING = {SOFTMAX: "softmax", SIGMOID: "sigmoid"}
NAMES = {
    "q_proj": "attn_q", "q_down": "attn_q_a", "q_norm": "attn_q_a_norm", "q_up": "attn_q_b",
    "kv_down": "attn_kv_a_mqa", "kv_norm": "attn_kv_a_norm", "o_proj": "attn_output",
}  # fmt: skip
LAYER = {"attn_norm": "attn_norm", "mlp_norm": "ffn_norm"} | {f"mlp.{ours}": theirs for ours, theirs in MLP.items()}


def from_config(hf: ForeignConfig) -> DeepSeekConfig:
    c = hf.read(DeepSeekConfig, (*KEYS, key("vocab_size", f"{ARCH}.vocab_size", default=read_size(hf))))
    is_split = f"{ATTENTION}.key_length_mla" in hf
    suffix = "_mla" if is_split else ""
    width, v = (hf.as_type(int, hf[n], n) for n in (f"{ATTENTION}.{x}_length{suffix}" for x in ("key", "value")))
    known: dict[str, Any] = {f"{ATTENTION}.head_count_kv": 1 if is_split else c["num_heads"]}
    if is_split:
        rank = c["kv_lora_rank"]
        known |= {f"{ATTENTION}.key_length": rank + c["rope_head_dim"], f"{ATTENTION}.value_length": rank}
    gating = hf.as_type(int, hf.get(GATING, SOFTMAX), GATING)
    hf.require(**{GATING: gating if gating in SCORING else SOFTMAX})
    read = {k.theirs for k in KEYS}
    rest = read_rest(hf, ARCH, **{n: value for n, value in fixed(ARCH).items() if n not in read}, **known)
    rope = read_rope(hf, ARCH, c["rope_head_dim"], c["max_seq_len"], temperature_key(ARCH))
    if rope.scaling == "yarn" and not rope.mscale:
        why = "without it llama.cpp does not scale the rotated channels, and DeepSeek's released code does"
        raise CheckpointError(
            hf.file, temperature_key(ARCH).theirs, "is missing or 0, and rope.scaling is yarn", why=why
        )
    own: dict[str, Any] = {
        "nope_head_dim": width - c["rope_head_dim"],
        "v_head_dim": v,
        "scoring": SCORING[gating],
        "rope": rope,
    }
    return DeepSeekConfig(**c | rest | own | {"norm_eps": norm_eps(c)})


def to_config(c: DeepSeekConfig) -> dict[str, Any]:
    must_be(c, WHERE, attention_bias=False, moe_layer_freq=1, num_mtp_layers=0, rope_interleaved=True)
    if not c.num_shared_experts:
        raise UsageError(f"{WHERE} of {ARCH} cannot store model.num_shared_experts=0: llama.cpp wants one at least")
    if c.rope.scaling == "yarn" and not c.rope.mscale:
        what = f"{WHERE} of {ARCH} cannot store model.rope.scaling=yarn without model.rope.mscale"
        raise UsageError(what, why="llama.cpp does not scale the rotated channels then", hint="write hf or zoo")
    if c.q_lora_rank is None and c.num_layers not in LITE:
        what = f"{WHERE} of {ARCH} cannot store model.q_lora_rank=null with model.num_layers={c.num_layers}"
        raise UsageError(
            what, why=f"llama.cpp reads such queries in models of {' or '.join(map(str, LITE))} layers only"
        )
    if c.scoring == "softmax" and c.is_renormalised:
        must_be(c, f"{WHERE} with model.is_renormalised", routed_scale=1.0)
    if c.scoring == "softmax" and c.num_groups > 1:
        what = f"{WHERE} cannot store model.num_groups={c.num_groups} with model.scoring=softmax"
        raise UsageError(what, why="llama.cpp ranks groups by their two best experts, DeepSeek-V2 by the best one")
    sizes = {
        "head_count_kv": 1, "key_length": c.kv_lora_rank + c.rope_head_dim, "value_length": c.kv_lora_rank,
        "key_length_mla": c.nope_head_dim + c.rope_head_dim, "value_length_mla": c.v_head_dim,
    }  # fmt: skip
    gating = next(number for number, name in SCORING.items() if name == c.scoring)
    return {
        **write_special(c, ARCH),
        **{name: value for name, value in write_keys(c, KEYS).items() if value is not None},
        **{f"{ATTENTION}.{name}": size for name, size in sizes.items()},
        **write_rope(c.rope, ARCH),
        f"{ARCH}.vocab_size": c.vocab_size,
        GATING: gating,
    }


def mapping(c: DeepSeekConfig) -> Table:
    must_be(c, WHERE, num_mtp_layers=0)
    latent = split_latent(c.num_heads, c.nope_head_dim, c.kv_lora_rank)
    return Table(
        rename("embed", "token_embd"),
        under(
            "layers.{i}", "blk.{i}",
            *(rename(f"attn.{ours}", theirs) for ours, theirs in NAMES.items()),
            rule("attn.kv_up.weight", ("attn_k_b.weight", "attn_v_b.weight"), latent),
            rename("attn.kv_up", "attn_kv_b"),
            *EXPERTS,
            *(rename(ours, theirs) for ours, theirs in LAYER.items()),
        ),
        rename("norm", "output_norm"),
        [] if c.tie_embeddings else rename("lm_head", "output"),
    )  # fmt: skip


DEEPSEEK = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
