"""InternLM 3 as llama.cpp stores it: as a LLaMA, which it is where all projections have biases or none has.

A file does not say that it was an InternLM 3. It is read as a LLaMA, which computes the same.
"""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, must_be, rope_halves, rule
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import InternLM3Config


def from_config(hf: ForeignConfig) -> InternLM3Config:
    values = read_decoder(hf, "llama", InternLM3Config, tensor_data_layout="Meta AI original pth")
    biases = {"attention_bias": "blk.0.attn_q.bias" in hf.tensors, "has_bias": "blk.0.ffn_up.bias" in hf.tensors}
    return InternLM3Config(**values, **biases)


def to_config(c: InternLM3Config) -> dict[str, Any]:
    must_be(c, f"{WHERE} of llama", has_bias=c.attention_bias)
    return write_decoder(c, "llama", has_divisors=True)


def mapping(c: InternLM3Config) -> Table:
    return decoder_table(
        c,
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    )


INTERNLM3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture())
