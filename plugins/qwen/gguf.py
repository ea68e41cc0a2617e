"""Qwen 1.5 to 2.5 as llama.cpp stores them, which zoo reads and does not write; rows of q and k keep their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.registry.family import Match
from zoo.weights import ForeignConfig, Table, rename
from zoo.weights.gguf_layout import decoder_table, read_decoder, read_only

from .config import Qwen2Config

FILES = None  # read, not written
to_config = read_only


def matches(raw: Mapping[str, Any]) -> Match | None:
    kind = raw.get("general.architecture")
    return Match(1.0, ("general.architecture is 'qwen2'",)) if kind == "qwen2" else None


def from_config(hf: ForeignConfig) -> Qwen2Config:
    return Qwen2Config(**read_decoder(hf, "qwen2", Qwen2Config))


def mapping(c: Qwen2Config) -> Table:
    return decoder_table(c, rename("attn.q_proj", "attn_q"), rename("attn.k_proj", "attn_k"))
