"""SmolLM3 as llama.cpp stores it: every fourth layer does not rotate, which no key says."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import all_but_every
from zoo.weights import Dialect, ForeignConfig, Table, must_be, rope_halves, rule
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import SmolLM3Config


def still(num_layers: int) -> list[int]:
    """The layers that llama.cpp does not rotate."""
    return [i for i in range(num_layers) if i not in all_but_every(4, num_layers)]


def from_config(hf: ForeignConfig) -> SmolLM3Config:
    values = read_decoder(hf, "smollm3", SmolLM3Config, tensor_data_layout="Meta AI original pth")
    return SmolLM3Config(**values, nope_layers=still(values["num_layers"]))


def to_config(c: SmolLM3Config) -> dict[str, Any]:
    fixed = {"sliding_window": None, "attention_bias": False, "mlp_bias": False, "nope_layers": still(c.num_layers)}
    must_be(c, WHERE, **fixed)
    return write_decoder(c, "smollm3")


def mapping(c: SmolLM3Config) -> Table:
    return decoder_table(
        c,
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    )


SMOLLM3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("smollm3"))
