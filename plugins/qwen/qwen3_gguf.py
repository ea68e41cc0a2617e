"""Qwen3 as llama.cpp stores it: Qwen2's names, and the norms of q and k."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.registry.family import Match
from zoo.weights import ForeignConfig, Table, rename
from zoo.weights.gguf_layout import decoder_table, read_decoder, read_only

from .config import Qwen3Config

FILES = None  # read, not written
to_config = read_only


def matches(raw: Mapping[str, Any]) -> Match | None:
    kind = raw.get("general.architecture")
    return Match(1.0, ("general.architecture is 'qwen3'",)) if kind == "qwen3" else None


def from_config(hf: ForeignConfig) -> Qwen3Config:
    return Qwen3Config(**read_decoder(hf, "qwen3", Qwen3Config), attention_bias="blk.0.attn_q.bias" in hf.tensors)


def mapping(c: Qwen3Config) -> Table:
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm"}
    return decoder_table(c, *(rename(f"attn.{ours}", theirs) for ours, theirs in names.items()))
