"""EXAONE 4.0 as llama.cpp stores it, the 1.2B: a window it computes in a model of 64 layers alone."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, must_be, rename
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import Exaone4Config

NORMS = (rename("attn_norm", "post_attention_norm"), rename("mlp_norm", "post_ffw_norm"))


def from_config(hf: ForeignConfig) -> Exaone4Config:
    return Exaone4Config(**read_decoder(hf, "exaone4", Exaone4Config))


def to_config(c: Exaone4Config) -> dict[str, Any]:
    must_be(c, WHERE, sliding_window=None)
    return write_decoder(c, "exaone4", has_divisors=True)


def mapping(c: Exaone4Config) -> Table:
    return decoder_table(c, *(rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk"), norms=NORMS)


EXAONE4 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("exaone4"))
