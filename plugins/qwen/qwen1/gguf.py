"""The first Qwen as llama.cpp stores it: q, k and v in one matrix, and the width of gate and up together.

llama.cpp stretches nothing beyond the trained length, so that only a model without longer texts can be written.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, ForeignConfig, Table, must_be, rule, split
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import Qwen1Config

ARCH = "qwen"
WIDTH = f"{ARCH}.feed_forward_length"
SWITCHES = {"has_dynamic_ntk": False, "has_logn": False}


def from_config(hf: ForeignConfig) -> Qwen1Config:
    values = read_decoder(hf, ARCH, Qwen1Config)
    if values["intermediate_size"] % 2:
        raise CheckpointError(hf.file, WIDTH, f"{values['intermediate_size']:,} is not the width of two equal parts")
    values["intermediate_size"] //= 2
    return Qwen1Config(**values, **SWITCHES, trained_seq_len=values["max_seq_len"])


def to_config(c: Qwen1Config) -> dict[str, Any]:
    must_be(c, f"{WHERE} of {ARCH}", linear_bias=False, tie_embeddings=False)
    if c.max_seq_len > c.trained_seq_len and (c.has_dynamic_ntk or c.has_logn):
        what = f"{WHERE} of {ARCH} cannot store what happens beyond model.trained_seq_len={c.trained_seq_len}"
        hint = f"shorten the context, in which all is the same: model.max_seq_len={c.trained_seq_len}"
        raise UsageError(what, why="llama.cpp computes no model.has_dynamic_ntk and no model.has_logn", hint=hint)
    return write_decoder(c, ARCH) | {WIDTH: 2 * c.intermediate_size}


def mapping(c: Qwen1Config) -> Table:
    d = c.hidden_size
    return decoder_table(c, rule(tuple(f"attn.{x}_proj" for x in "qkv"), "attn_qkv", split(d, d, d)))


QWEN = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
