"""StarCoder2 as llama.cpp stores it, without a window; rows of q and k keep their order."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table
from zoo.weights.gguf.layout import (
    LAYER_NORM,
    by_architecture,
    decoder_table,
    read_decoder,
    refuse_window,
    write_decoder,
)

from .config import StarCoder2Config


def from_config(hf: ForeignConfig) -> StarCoder2Config:
    values = read_decoder(hf, "starcoder2", StarCoder2Config, eps=LAYER_NORM)
    return StarCoder2Config(**values, has_bias="blk.0.attn_q.bias" in hf.tensors)


def to_config(c: StarCoder2Config) -> dict[str, Any]:
    refuse_window(c, "StarCoder2")
    return write_decoder(c, "starcoder2", eps=LAYER_NORM)


def mapping(c: StarCoder2Config) -> Table:
    return decoder_table(c)


STARCODER2 = Dialect(
    from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("starcoder2")
)
