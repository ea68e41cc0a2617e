"""OLMo 2 as llama.cpp stores it; what zoo knows of an OLMo 3 there is not enough to read or write one."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, must_be, rename
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import Olmo2Config

NORMS = (rename("attn_norm", "post_attention_norm"), rename("mlp_norm", "post_ffw_norm"))


def from_config(hf: ForeignConfig) -> Olmo2Config:
    values = read_decoder(hf, "olmo2", Olmo2Config)
    return Olmo2Config(**values, local_rope=values["rope"])


def to_config(c: Olmo2Config) -> dict[str, Any]:
    must_be(c, WHERE, sliding_window=None, attention_bias=False, local_rope=c.rope)
    refuse_wide(c, "olmo2")
    return write_decoder(c, "olmo2")


def mapping(c: Olmo2Config) -> Table:
    return decoder_table(c, *(rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk"), norms=NORMS)


OLMO2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("olmo2"))
