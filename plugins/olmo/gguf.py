"""OLMo 2 and 3 as llama.cpp stores them: of an OLMo 3 every fourth layer sees all, and only there YaRN stretches."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig, all_but_every
from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import Olmo2Config

ARCH, EVERY = "olmo2", 4
NORMS = (rename("attn_norm", "post_attention_norm"), rename("mlp_norm", "post_ffw_norm"))
WINDOW = key("sliding_window", f"{ARCH}.attention.sliding_window")


def from_config(hf: ForeignConfig) -> Olmo2Config:
    if not hf.raw.get(WINDOW.theirs):
        none: dict[str, Any] = {WINDOW.theirs: 0}
        values = read_decoder(hf, ARCH, Olmo2Config, **none)
        return Olmo2Config(**values, local_rope=values["rope"])
    only: dict[str, Any] = {f"{WINDOW.theirs}_pattern": EVERY}
    values = read_decoder(hf, ARCH, Olmo2Config, WINDOW, **only)
    layers, local = all_but_every(EVERY, values["num_layers"]), RopeConfig(values["rope"].theta)
    return Olmo2Config(**values, sliding_layers=layers, local_rope=local)


def to_config(c: Olmo2Config) -> dict[str, Any]:
    must_be(c, WHERE, attention_bias=False)
    refuse_wide(c, ARCH)
    if c.sliding_window is None:
        must_be(c, WHERE, local_rope=c.rope)
        return write_decoder(c, ARCH)
    must_be(c, WHERE, sliding_layers=all_but_every(EVERY, c.num_layers), local_rope=RopeConfig(c.rope.theta))
    return write_decoder(c, ARCH, WINDOW)


def mapping(c: Olmo2Config) -> Table:
    return decoder_table(c, *(rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk"), norms=NORMS)


OLMO2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
