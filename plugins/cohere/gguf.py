"""Command R as llama.cpp stores it; rows of q and k keep their order, for its rotary channels pair as these do.

Command R7B and Command A are `cohere2`, whose layers without a window are every fourth, which no key says.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy import all_but_every
from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename
from zoo.weights.gguf.layout import (
    LAYER_NORM,
    WHERE,
    by_architecture,
    decoder_table,
    read_decoder,
    refuse_wide,
    write_decoder,
)

from .config import CohereConfig

OLD, NEW = "command-r", "cohere2"


def from_config(hf: ForeignConfig) -> CohereConfig:
    arch = NEW if hf.raw.get("general.architecture") == NEW else OLD
    more = [key("sliding_window", f"{NEW}.attention.sliding_window")] if arch == NEW else []
    values = read_decoder(hf, arch, CohereConfig, key("logit_scale", f"{arch}.logit_scale"), *more, eps=LAYER_NORM)
    values["logit_scale"] = float(f"{values['logit_scale']:.7g}")
    layers = all_but_every(4, values["num_layers"]) if arch == NEW else None
    biases = "blk.0.attn_q.bias" in hf.tensors
    norms = "blk.0.attn_q_norm.weight" in hf.tensors
    return CohereConfig(**values, sliding_layers=layers, attention_bias=biases, has_qk_norm=norms)


def to_config(c: CohereConfig) -> dict[str, Any]:
    must_be(c, WHERE, tie_embeddings=True)
    arch = OLD if c.sliding_window is None else NEW
    refuse_wide(c, arch)
    if arch == NEW:
        must_be(c, WHERE, sliding_layers=all_but_every(4, c.num_layers))
    # llama.cpp reads these norms where there are as many layers as Command R+ has, and there alone.
    must_be(c, WHERE, has_qk_norm=arch == OLD and c.num_layers >= 64)
    more = [key("sliding_window", f"{NEW}.attention.sliding_window")] if arch == NEW else []
    return write_decoder(c, arch, key("logit_scale", f"{arch}.logit_scale"), *more, eps=LAYER_NORM)


def mapping(c: CohereConfig) -> Table:
    heads = (rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk")
    return decoder_table(c, *heads, norms=[rename("norm", "attn_norm")])


COHERE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(OLD, NEW))
