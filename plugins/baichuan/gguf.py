"""Baichuan as llama.cpp stores it: q, k and v apart. Rotary channels pair (0, 1), (2, 3), ...

It knows the 7B by its 32 layers, which rotate, and the 13B by its 40, which have ALiBi, and no other. The rows of a
head it takes as they are, so that a Baichuan 2, whose rows have length 1, cannot be stored.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, ForeignConfig, Table, must_be, rope_halves, rule
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import BaichuanConfig

ARCH = "baichuan"
HAS_ALIBI = {32: False, 40: True}  # by the number of layers
LAYOUT = {"tensor_data_layout": "Meta AI original pth"}


def from_config(hf: ForeignConfig) -> BaichuanConfig:
    values = read_decoder(hf, ARCH, BaichuanConfig, **LAYOUT)
    if (count := values["num_layers"]) not in HAS_ALIBI:
        what = f"{count:,} is neither 32 nor 40, by which llama.cpp knows whether a Baichuan rotates or has ALiBi"
        raise CheckpointError(hf.file, f"{ARCH}.block_count", what)
    return BaichuanConfig(**values, has_alibi=HAS_ALIBI[count])


def to_config(c: BaichuanConfig) -> dict[str, Any]:
    where = f"{WHERE} of {ARCH}"
    must_be(c, where, has_normed_head=False, tie_embeddings=False, num_kv_heads=c.num_heads)
    if HAS_ALIBI.get(c.num_layers) != c.has_alibi:
        what = f"{where} cannot store model.num_layers={c.num_layers} with model.has_alibi={c.has_alibi}"
        raise UsageError(what, why="llama.cpp takes 32 layers for ones that rotate, and 40 for ones with ALiBi")
    refuse_wide(c, ARCH)
    return write_decoder(c, ARCH, **LAYOUT)


def mapping(c: BaichuanConfig) -> Table:
    halves = rope_halves(c.num_heads, c.head_dim)
    return decoder_table(c, *(rule(f"attn.{x}_proj", f"attn_{x}", halves) for x in "qk"))


BAICHUAN = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
