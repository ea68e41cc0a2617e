"""Traits in words: what a model's attention, positions and MLP are, as tables and reports show them. Needs no torch."""

from __future__ import annotations

from zoo.anatomy.config import RopeConfig

ACTIVATIONS = {
    "gelu": "GELU", "gelu_tanh": "GELU (tanh)", "gelu_bloom": "GELU (tanh)", "gelu_fast": "GELU (tanh)",
    "quick_gelu": "quick GELU", "relu": "ReLU", "silu": "SiLU",
}  # fmt: skip
GATED = {"gelu": "GeGLU", "gelu_tanh": "GeGLU", "gelu_bloom": "GeGLU", "relu": "ReGLU", "silu": "SwiGLU"}


def heads_in_words(num_heads: int, num_kv_heads: int) -> str:
    """MHA 12, GQA 32/8 or MQA 8 (arXiv:1911.02150, arXiv:2305.13245)."""
    if num_kv_heads == num_heads:
        return f"MHA {num_heads}"
    return f"MQA {num_heads}" if num_kv_heads == 1 else f"GQA {num_heads}/{num_kv_heads}"


def rope_in_words(rope: RopeConfig) -> str:
    """RoPE 10k, RoPE 500k llama3 ×8, ..."""
    theta = f"{rope.theta / 1e6:g}M" if rope.theta >= 1e6 else f"{rope.theta / 1e3:g}k"
    kind = {"none": "", "yarn": " YaRN", "linear": " PI", "dynamic": " dynamic NTK"}.get(
        rope.scaling, f" {rope.scaling}"
    )
    part = "" if rope.partial == 1 else f" on {rope.partial:.0%}"
    return f"RoPE {theta}{part}{kind}" + (f" ×{rope.factor:g}" if rope.scaling not in ("none", "longrope") else "")


def mlp_in_words(activation: str, intermediate_size: int, *, is_gated: bool = False) -> str:
    """GELU (tanh) 3072, ReLU 2048; gated: SwiGLU 14336, GeGLU 2048 (arXiv:2002.05202)."""
    return f"{(GATED if is_gated else ACTIVATIONS)[activation]} {intermediate_size}"
