"""InternLM 2 as llama.cpp stores it: q, k and v apart. Rotary channels pair (0, 1), (2, 3), ..."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, rope_halves, rule
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import InternLM2Config


def from_config(hf: ForeignConfig) -> InternLM2Config:
    values = read_decoder(hf, "internlm2", InternLM2Config)
    return InternLM2Config(**values, attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_config(c: InternLM2Config) -> dict[str, Any]:
    refuse_wide(c, "internlm2")
    return write_decoder(c, "internlm2")


def mapping(c: InternLM2Config) -> Table:
    return decoder_table(
        c,
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    )


INTERNLM2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("internlm2"))
