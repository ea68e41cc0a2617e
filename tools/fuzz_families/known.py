"""What transformers is known to compute otherwise, or not at all: such configs say nothing of zoo, and are not drawn.

Each has its reason: a paragraph of docs/deviations.md, by the words that it begins with, or what transformers does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from zoo.anatomy.config import ModelConfig, RopeConfig

C = TypeVar("C", bound=ModelConfig)

HYBRIDS = ("qwen3_next", "qwen3_5", "qwen3_5_moe")


class Known(NamedTuple):
    """Where fields of these families have such values, they get others."""

    families: tuple[str, ...]
    when: Callable[[dict[str, Any]], Any]  # whether they have, of a config's fields
    instead: dict[str, Any]  # a value, or what makes one of the old
    why: str


def _truncated(rope: RopeConfig) -> RopeConfig:
    return replace(rope, truncate=True)


def as_both_compute(config: C) -> C:
    """The config without what is known."""
    for known in KNOWN:
        if config.family in known.families and known.when(vars(config)):
            values = {name: new(vars(config)[name]) if callable(new) else new for name, new in known.instead.items()}
            config = config.from_dict(replace(config, **values).to_dict())
    return config


KNOWN = (
    Known(("deepseek",), lambda c: c["moe_layer_freq"] > 1, {"moe_layer_freq": 1}, "DeepSeek, `moe_layer_freq`."),
    Known(
        ("deepseek",), lambda c: c["scoring"] == "softmax" and c["is_renormalised"], {"is_renormalised": False},
        "DeepSeek-V2, `norm_topk_prob`.",
    ),
    Known(
        ("deepseek",), lambda c: c["scoring"] == "softmax" and c["nope_head_dim"] % 2 + c["kv_lora_rank"] % 2,
        {"nope_head_dim": 8, "kv_lora_rank": 12}, "it stops: its V2 takes numbers in pairs where a head begins",
    ),
    Known(
        ("gemma", "gemma3_vl"), lambda c: c["generation"] == 3, {"attn_softcap": None},
        "Gemma 3, `attn_logit_softcapping`.",
    ),
    Known(
        ("gemma", "gemma3_vl"), lambda c: c["generation"] == 3, {"rope": _truncated, "local_rope": _truncated},
        "Gemma 3, YaRN's `truncate`.",
    ),
    Known(
        ("qwen3_vl_moe",), lambda c: 2 * c["moe_intermediate_size"] == c["hidden_size"],
        {"moe_intermediate_size": lambda width: width + 2}, "Qwen3-VL-MoE, square stacks.",
    ),
    Known(
        ("t5",), lambda c: c["flavour"] == "umt5", {"tie_embeddings": True, "scale_outputs": True},
        "UMT5, a head of its own.",
    ),
    Known(
        ("t5",), lambda c: c["flavour"] == "t5" and not c["tie_embeddings"], {"scale_outputs": False},
        "it writes a head of its own that scales as a tied one with a copy beside, which zoo refuses",
    ),
    Known(
        ("t5",), lambda c: c["num_decoder_layers"] is None, {"num_decoder_layers": 2},
        "an encoder alone has no logits, and its states are those of the encoder that is compared",
    ),
    Known(
        ("transformer",), lambda c: not c["tie_embeddings"], {"tie_embeddings": True},
        "it stops sharing an embedding between Marian's stacks where the head has its own, and draws theirs at random",
    ),
    Known(("gpt2",), lambda c: c["upcast_scores"], {"upcast_scores": False}, "it stops in float64: it wants float32"),
    Known(
        HYBRIDS, lambda c: c["attention_layers"] == [] or (c["attention_layers"] is None and c["num_layers"] < 4),
        {"attention_layers": [0]},
        "it stops without a layer of attention: its cache has no length then",
    ),
    Known(
        ("gemma4", "gemma4_vl"), lambda c: c["layer_embed_dim"] is None, {"sharing_from": None},
        "it stops where layers share keys and have no embeddings",
    ),
)  # fmt: skip
