"""gpt-oss as llama.cpp stores it: experts one kind in one tensor, in MXFP4 or in plain numbers, each with its biases.

Windows are those of every other layer, and the bounds of SwiGLU the released ones: no key says either. llama.cpp rounds
the bounds of YaRN to whole channels, the released models do not, and neither does zoo.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename
from zoo.weights.gguf.experts import EXPERTS, expert_keys, width_key
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import GptOssConfig

ARCH = "gpt-oss"
WINDOW = key("sliding_window", f"{ARCH}.attention.sliding_window")
WIDTH = "expert_feed_forward_length"
KEYS = (*expert_keys(ARCH), WINDOW)
NORMS = (rename("attn_norm", "attn_norm"), rename("mlp_norm", "post_attention_norm"))


def from_config(hf: ForeignConfig) -> GptOssConfig:
    width = hf.raw.get(f"{ARCH}.feed_forward_length")
    only: dict[str, Any] = {WIDTH: width, f"{ARCH}.attention.sliding_window_pattern": 2, "expert_weights_scale": 1.0}
    values = read_decoder(hf, ARCH, GptOssConfig, *KEYS, **only)
    if values["rope"].scaling == "yarn":
        values["rope"] = replace(values["rope"], truncate=False)
    return GptOssConfig(**values, attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_config(c: GptOssConfig) -> dict[str, Any]:
    where = f"{WHERE} of {ARCH}"
    must_be(c, where, attention_bias=True, tie_embeddings=False, swiglu_alpha=1.702, swiglu_limit=7.0)
    must_be(c, where, sliding_layers=None, sliding_window=c.sliding_window or 128)
    if c.rope.scaling == "yarn":
        must_be(c, where, rope=replace(c.rope, truncate=False))
    out = write_decoder(replace(c, rope=replace(c.rope, truncate=True)), ARCH, *KEYS)
    return out | {width_key(ARCH).theirs: c.intermediate_size}


def mapping(c: GptOssConfig) -> Table:
    return decoder_table(
        c,
        rename("attn.sinks", "attn_sinks.weight"),
        rename("mlp.router.bias", "ffn_gate_inp.bias"),
        *(rename(f"mlp.experts.{x}_bias", f"ffn_{x}_exps.bias") for x in ("gate", "up", "down")),
        *EXPERTS,
        norms=NORMS,
    )


GPT_OSS = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
