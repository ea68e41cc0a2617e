"""Qwen's mixtures of experts as llama.cpp stores them: all layers sparse, weights that sum to 1 in Qwen3 alone."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Key, Table, key, must_be, rename, reshape, rule
from zoo.weights.gguf.experts import EXPERTS, expert_keys, width_key
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from ..gguf import check_plain, text_of
from .config import Qwen2MoEConfig, Qwen3MoEConfig

SHARED = key(
    "shared_intermediate_size",
    "qwen2moe.expert_shared_feed_forward_length",
    default=lambda c: c["intermediate_size"],
)


def keys(arch: str) -> tuple[Key, ...]:
    """The sizes of experts. Older files do not say how wide they are, and llama.cpp divides the MLP among them."""
    width = width_key(arch, default=lambda c: c["intermediate_size"] // max(c["experts_per_token"], 1))
    return (*expert_keys(arch), width)


def from_qwen2(hf: ForeignConfig) -> Qwen2MoEConfig:
    values = read_decoder(hf, "qwen2moe", Qwen2MoEConfig, *keys("qwen2moe"), SHARED, expert_weights_scale=1.0)
    return Qwen2MoEConfig(**values, attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_qwen2(c: Qwen2MoEConfig) -> dict[str, Any]:
    check_plain(c)
    must_be(c, WHERE, is_renormalised=False, dense_layers=[])
    if c.shared_intermediate_size is None:
        must_be(c, f"{WHERE} of qwen2moe", shared_intermediate_size=c.intermediate_size)
    refuse_wide(c, "qwen2moe")
    return write_decoder(c, "qwen2moe", *keys("qwen2moe"), SHARED)


def from_qwen3(hf: ForeignConfig) -> Qwen3MoEConfig:
    arch = text_of(hf, "qwen3moe")
    values = read_decoder(hf, arch, Qwen3MoEConfig, *keys(arch), expert_weights_scale=1.0)
    return Qwen3MoEConfig(**values, attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_qwen3(c: Qwen3MoEConfig) -> dict[str, Any]:
    check_plain(c)
    must_be(c, WHERE, is_renormalised=True, dense_layers=[], attention_bias=False, shared_intermediate_size=None)
    return write_decoder(c, "qwen3moe", *keys("qwen3moe"))


def qwen2_mapping(c: Qwen2MoEConfig) -> Table:
    gate = reshape((1, c.hidden_size), (c.hidden_size,))
    return decoder_table(c, *EXPERTS, rule("mlp.shared_gate.weight", "ffn_gate_inp_shexp.weight", gate))


def qwen3_mapping(c: Qwen3MoEConfig) -> Table:
    return decoder_table(c, *EXPERTS, *(rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk"))


QWEN2_MOE = Dialect(
    from_config=from_qwen2, to_config=to_qwen2, mapping=qwen2_mapping, matches=by_architecture("qwen2moe")
)
QWEN3_MOE = Dialect(
    from_config=from_qwen3, to_config=to_qwen3, mapping=qwen3_mapping, matches=by_architecture("qwen3moe", "qwen3vlmoe")
)
