"""Qwen 1.5 to 3 as llama.cpp stores them, which zoo reads and does not write; rows of q and k keep their order."""

from __future__ import annotations

from zoo.weights import Dialect, ForeignConfig, Table, rename
from zoo.weights.gguf_layout import by_architecture, decoder_table, read_decoder

from .config import Qwen2Config, Qwen3Config


def from_config(hf: ForeignConfig) -> Qwen2Config:
    return Qwen2Config(**read_decoder(hf, "qwen2", Qwen2Config))


def mapping(c: Qwen2Config) -> Table:
    return decoder_table(c, rename("attn.q_proj", "attn_q"), rename("attn.k_proj", "attn_k"))


def from_qwen3(hf: ForeignConfig) -> Qwen3Config:
    return Qwen3Config(**read_decoder(hf, "qwen3", Qwen3Config), attention_bias="blk.0.attn_q.bias" in hf.tensors)


def qwen3_mapping(c: Qwen3Config) -> Table:
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm"}
    return decoder_table(c, *(rename(f"attn.{ours}", theirs) for ours, theirs in names.items()))


QWEN2 = Dialect(from_config=from_config, mapping=mapping, matches=by_architecture("qwen2"))
QWEN3 = Dialect(from_config=from_qwen3, mapping=qwen3_mapping, matches=by_architecture("qwen3"))
