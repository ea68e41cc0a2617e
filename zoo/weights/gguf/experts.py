"""What llama.cpp's files call the experts of a layer, each kind in one tensor, and where their sizes stand."""

from __future__ import annotations

from typing import Any

from zoo.weights.entries import Entry, rename
from zoo.weights.foreign.config import Key, key

__all__ = ["EXPERTS", "SIGMOID", "SOFTMAX", "expert_keys", "width_key"]

EXPERTS: tuple[Entry, ...] = (
    rename("mlp.router.weight", "ffn_gate_inp.weight"),
    rename("mlp.router.bias", "exp_probs_b.bias"),
    *(rename(f"mlp.experts.{x}_proj", f"ffn_{x}_exps.weight") for x in ("gate", "up", "down")),
    *(rename(f"mlp.shared.{x}_proj", f"ffn_{x}_shexp") for x in ("gate", "up", "down")),
)
SOFTMAX, SIGMOID = 1, 2  # what expert_gating_func says


def expert_keys(arch: str) -> tuple[Key, ...]:
    """How many there are, and how many a token is sent to."""
    return (key("num_experts", f"{arch}.expert_count"), key("experts_per_token", f"{arch}.expert_used_count"))


def width_key(arch: str, **options: Any) -> Key:
    """How wide an expert is."""
    return key("moe_intermediate_size", f"{arch}.expert_feed_forward_length", **options)
