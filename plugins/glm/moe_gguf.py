"""GLM-4.5 as llama.cpp stores it."""

from __future__ import annotations

from typing import Any

from zoo.errors import UsageError
from zoo.weights import Dialect, ForeignConfig, Key, Table, key, must_be, rename
from zoo.weights.gguf.experts import EXPERTS, SIGMOID, expert_keys, width_key
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import GLM4MoEConfig

ARCH = "glm4moe"
KEYS: tuple[Key, ...] = (
    *expert_keys(ARCH),
    width_key(ARCH),
    key("num_shared_experts", f"{ARCH}.expert_shared_count"),
    key("num_dense_layers", f"{ARCH}.leading_dense_block_count", default=0),
    key("routed_scale", f"{ARCH}.expert_weights_scale", default=1.0),
    key("is_renormalised", f"{ARCH}.expert_weights_norm", default=True),
    key("num_groups", f"{ARCH}.expert_group_count", default=1),
    key("groups_per_token", f"{ARCH}.expert_group_used_count", default=1),
)


def from_config(hf: ForeignConfig) -> GLM4MoEConfig:
    only = {"expert_gating_func": SIGMOID, "nextn_predict_layers": 0}
    return GLM4MoEConfig(
        **read_decoder(hf, ARCH, GLM4MoEConfig, *KEYS, has_partial=True, **only),
        attention_bias="blk.0.attn_q.bias" in hf.tensors,
        has_qk_norm="blk.0.attn_q_norm.weight" in hf.tensors,
    )


def to_config(c: GLM4MoEConfig) -> dict[str, Any]:
    must_be(c, WHERE, is_renormalised=True, num_mtp_layers=0)
    if not c.num_shared_experts:
        raise UsageError(f"{WHERE} of {ARCH} cannot store model.num_shared_experts=0: llama.cpp wants one at least")
    return write_decoder(c, ARCH, *KEYS, has_partial=True, expert_gating_func=SIGMOID)


def mapping(c: GLM4MoEConfig) -> Table:
    norms = (rename("attn_norm", "attn_norm"), rename("mlp_norm", "post_attention_norm"))
    on_heads = (rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk")
    return decoder_table(c, *EXPERTS, *on_heads, norms=norms)


GLM4_MOE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
