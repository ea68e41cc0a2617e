"""ERNIE 4.5 as llama.cpp stores it; rows of q and k keep their order, for its rotary channels pair as these do."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, write_decoder

from .config import Ernie45Config


def from_config(hf: ForeignConfig) -> Ernie45Config:
    return Ernie45Config(**read_decoder(hf, "ernie4_5", Ernie45Config), has_bias="blk.0.attn_q.bias" in hf.tensors)


def to_config(c: Ernie45Config) -> dict[str, Any]:
    return write_decoder(c, "ernie4_5")


def mapping(c: Ernie45Config) -> Table:
    return decoder_table(c)


ERNIE4_5 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("ernie4_5"))
