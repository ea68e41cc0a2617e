"""MiniCPM as llama.cpp stores it: each factor as it is multiplied by. Rotary channels pair (0, 1), (2, 3), ..."""

from __future__ import annotations

from math import sqrt
from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import Dialect, ForeignConfig, Table, key, rope_halves, rule
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, refuse_wide, write_decoder

from .config import MiniCPMConfig

ARCH = "minicpm"
EMBEDDING = key("embedding_multiplier", f"{ARCH}.embedding_scale")
BRANCH, HEAD = f"{ARCH}.residual_scale", f"{ARCH}.logit_scale"
LAYOUT = {"tensor_data_layout": "Meta AI original pth"}


def from_config(hf: ForeignConfig) -> MiniCPMConfig:
    branch, head = (hf.as_type(float, hf[name], name) for name in (BRANCH, HEAD))
    values = read_decoder(hf, ARCH, MiniCPMConfig, EMBEDDING, **LAYOUT)
    values["embedding_multiplier"] = _decimal(values["embedding_multiplier"])
    base = round(values["hidden_size"] / head) if head > 0 else 0
    if base < 1 or abs(values["hidden_size"] / base - head) > 1e-5 * head:
        raise CheckpointError(hf.file, HEAD, f"{head:g} is not {ARCH}.embedding_length over a whole number")
    return MiniCPMConfig(**values, scale_depth=_decimal(branch * sqrt(max(values["num_layers"], 0))), base_size=base)


def to_config(c: MiniCPMConfig) -> dict[str, Any]:
    refuse_wide(c, ARCH)
    factors = {BRANCH: c.scale_depth / sqrt(c.num_layers), HEAD: c.hidden_size / c.base_size}
    return write_decoder(c, ARCH, EMBEDDING) | factors


def mapping(c: MiniCPMConfig) -> Table:
    return decoder_table(
        c,
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    )


def _decimal(x: float) -> float:
    """The decimal that a float32 was meant to be."""
    return float(f"{x:.6g}")


MINICPM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
