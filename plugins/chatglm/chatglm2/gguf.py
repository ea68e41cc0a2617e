"""ChatGLM2, ChatGLM3 and GLM-4-9B as llama.cpp stores them: q, k, v in one tensor or in three, gate and up fused."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, rule, split
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import ChatGLM2Config


def from_config(hf: ForeignConfig) -> ChatGLM2Config:
    values = read_decoder(hf, "chatglm", ChatGLM2Config, has_partial=True)
    has_bias = any(f"blk.0.attn_{x}.bias" in hf.tensors for x in ("q", "qkv"))
    return ChatGLM2Config(**values, attention_bias=has_bias)


def to_config(c: ChatGLM2Config) -> dict[str, Any]:
    refuse_wide(c, "chatglm")
    return write_decoder(c, "chatglm", has_partial=True)


def mapping(c: ChatGLM2Config) -> Table:
    q, kv, wide = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim, c.intermediate_size
    return decoder_table(
        c,
        rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn_qkv", split(q, kv, kv)),
        rule(("mlp.gate_proj.weight", "mlp.up_proj.weight"), "ffn_up.weight", split(wide, wide)),
    )


CHATGLM2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("chatglm"))
