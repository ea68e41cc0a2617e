"""GLM-4 as llama.cpp stores it: gate and up fused; without second norms as a ChatGLM, with them as glm4."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, rename, rule, split
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import GLMConfig

AFTER = {"attn_post_norm": "post_attention_norm", "mlp_post_norm": "post_ffw_norm"}


def arch_of(is_sandwiched: bool) -> str:
    """The name of the architecture."""
    return "glm4" if is_sandwiched else "chatglm"


def from_config(hf: ForeignConfig) -> GLMConfig:
    is_sandwiched = hf.raw.get("general.architecture") == "glm4"
    values = read_decoder(hf, arch_of(is_sandwiched), GLMConfig, has_partial=True)
    return GLMConfig(**values, is_sandwiched=is_sandwiched, attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_config(c: GLMConfig) -> dict[str, Any]:
    if not c.is_sandwiched:
        refuse_wide(c, "chatglm")
    return write_decoder(c, arch_of(c.is_sandwiched), has_partial=True)


def mapping(c: GLMConfig) -> Table:
    wide = c.intermediate_size
    fused = rule(("mlp.gate_proj.weight", "mlp.up_proj.weight"), "ffn_up.weight", split(wide, wide))
    return decoder_table(c, fused, *(rename(ours, theirs) for ours, theirs in AFTER.items()))


# A chatglm file is read as the ChatGLM that it nearly always is, which computes the same.
GLM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("glm4"))
