"""EXAONE 4.0 as llama.cpp stores it: a window in all but every fourth layer of the 32B, known by its 64 layers.

Layers without a window do not rotate where others have one.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy import all_but_every
from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import Exaone4Config

NORMS = (rename("attn_norm", "post_attention_norm"), rename("mlp_norm", "post_ffw_norm"))
WINDOWED, EVERY = 64, 4  # layers of the model with a window, and which of them has none
WINDOW = key("sliding_window", "exaone4.attention.sliding_window", default=4096)


def from_config(hf: ForeignConfig) -> Exaone4Config:
    if hf.raw.get("exaone4.block_count") != WINDOWED:
        none: dict[str, Any] = {WINDOW.theirs: 0}
        return Exaone4Config(**read_decoder(hf, "exaone4", Exaone4Config, **none))
    only: dict[str, Any] = {f"{WINDOW.theirs}_pattern": EVERY}
    values = read_decoder(hf, "exaone4", Exaone4Config, WINDOW, **only)
    return Exaone4Config(**values, sliding_layers=all_but_every(EVERY, WINDOWED))


def to_config(c: Exaone4Config) -> dict[str, Any]:
    if c.num_layers != WINDOWED:
        must_be(c, WHERE, sliding_window=None)
        return write_decoder(c, "exaone4", has_divisors=True)
    must_be(c, f"{WHERE} of {WINDOWED} layers", sliding_layers=all_but_every(EVERY, WINDOWED))
    return write_decoder(c, "exaone4", WINDOW, has_divisors=True)


def mapping(c: Exaone4Config) -> Table:
    return decoder_table(c, *(rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk"), norms=NORMS)


EXAONE4 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("exaone4"))
