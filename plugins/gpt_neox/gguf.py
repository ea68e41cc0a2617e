"""GPT-NeoX as llama.cpp stores it: all queries, then all keys, then all values in one matrix.

llama.cpp computes gelu by its tanh form, from a table; a file does not say which one the model has. It is read as the
exact one, as Pythia has it.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import UsageError
from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rule, split
from zoo.weights.gguf.layout import (
    LAYER_NORM,
    WHERE,
    by_architecture,
    decoder_table,
    read_decoder,
    refuse_wide,
    write_decoder,
)

from .config import GPTNeoXConfig

ARCH = "gptneox"
PARALLEL = key("is_parallel", f"{ARCH}.use_parallel_residual")


def from_config(hf: ForeignConfig) -> GPTNeoXConfig:
    return GPTNeoXConfig(**read_decoder(hf, ARCH, GPTNeoXConfig, PARALLEL, has_partial=True, eps=LAYER_NORM))


def to_config(c: GPTNeoXConfig) -> dict[str, Any]:
    where = f"{WHERE} of {ARCH}"
    if c.activation in ("gelu_fast", "gelu_tanh"):
        hint = "llama.cpp computes the tanh form of model.activation=gelu, too; zoo would read the exact one"
        raise UsageError(f"{where} cannot store model.activation={c.activation!r}: it says nothing of it", hint=hint)
    must_be(c, where, activation="gelu", attention_bias=True, tie_embeddings=False, num_kv_heads=c.num_heads)
    refuse_wide(c, ARCH)
    return write_decoder(c, ARCH, PARALLEL, has_partial=True, eps=LAYER_NORM)


def mapping(c: GPTNeoXConfig) -> Table:
    d = c.hidden_size
    return decoder_table(c, rule(tuple(f"attn.{x}_proj" for x in "qkv"), "attn_qkv", split(d, d, d)))


GPT_NEOX = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
