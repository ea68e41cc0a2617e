"""StableLM as llama.cpp stores it; rows of q and k keep their order, and the heads' norms lie in one tensor."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, rename
from zoo.weights.gguf.layout import LAYER_NORM, by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import StableLMConfig

PARALLEL = key("is_parallel", "stablelm.use_parallel_residual", default=False)


def from_config(hf: ForeignConfig) -> StableLMConfig:
    values = read_decoder(hf, "stablelm", StableLMConfig, PARALLEL, has_partial=True, eps=LAYER_NORM)
    norms = {"has_qk_norm": "blk.0.attn_q_norm.weight" in hf.tensors}
    return StableLMConfig(**values, **norms, attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_config(c: StableLMConfig) -> dict[str, Any]:
    refuse_wide(c, "stablelm")
    return write_decoder(c, "stablelm", PARALLEL, has_partial=True, eps=LAYER_NORM)


def mapping(c: StableLMConfig) -> Table:
    norms = [rename("norm", "attn_norm")] if c.is_parallel else None
    heads = (rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk")
    return decoder_table(c, *heads) if norms is None else decoder_table(c, *heads, norms=norms)


STABLELM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("stablelm"))
