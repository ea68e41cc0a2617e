"""DeBERTa v2 and v3 as Hugging Face stores them."""

from __future__ import annotations

from typing import Any

from zoo.weights import (
    ACTIVATIONS,
    SPELT,
    Dialect,
    ForeignConfig,
    heads_of,
    key,
    read_head_and_labels,
    write_head_and_labels,
    write_keys,
    write_tokens,
)

from .config import DebertaConfig
from .hf_positions import read_positions, write_positions
from .tensors import mapping

HEADS = heads_of("DebertaV2")
ACTS, SPELT_ACTS = ACTIVATIONS | {"tanh": "tanh"}, SPELT | {"tanh": "tanh"}
KEYS = (
    key("vocab_size"),
    key("hidden_size"),
    key("intermediate_size"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads", "num_attention_heads"),
    key("max_seq_len", "max_position_embeddings", default=512),
    key("norm_eps", "layer_norm_eps", default=1e-7),
    key("conv_groups", default=1, is_told=False),
)


def from_config(hf: ForeignConfig) -> DebertaConfig:
    hf.ignore("hidden_dropout_prob", "attention_probs_dropout_prob", "pooler_dropout", "cls_dropout", "summary_type")
    hf.ignore("summary_activation", "summary_last_dropout", "summary_use_proj", "output_past")
    values = hf.read(DebertaConfig, KEYS) | read_head_and_labels(hf, HEADS, DebertaConfig)
    width = values["hidden_size"]
    hf.require(embedding_size=width, pooler_hidden_size=width, attention_head_size=width // max(values["num_heads"], 1))
    hf.require(tie_word_embeddings=True) if values["head"] == "masked_lm" else hf.ignore("tie_word_embeddings")
    values |= {name: _size(hf, name) for name in ("conv_kernel_size", "type_vocab_size")}
    values |= {
        "activation": hf.one_of("hidden_act", ACTIVATIONS, "gelu"),
        "pooler_activation": hf.one_of("pooler_hidden_act", ACTS, "gelu"),
        "conv_activation": hf.one_of("conv_act", ACTS, "tanh"),
        "is_legacy": _is_legacy(hf),
    }
    for name, field in (("conv_act", "conv_kernel_size"), ("pooler_hidden_act", "num_labels")):
        if not values.get(field):
            hf.assumed.pop(name, None)  # of a part that the model does not have
    return DebertaConfig(**values, **hf.tokens(), **read_positions(hf, values["max_seq_len"]))


def to_config(c: DebertaConfig) -> dict[str, Any]:
    return {
        "model_type": "deberta-v2",
        **write_head_and_labels(c, HEADS),
        **write_keys(c, KEYS),
        **write_tokens(c),
        **write_positions(c),
        "conv_kernel_size": c.conv_kernel_size or 0,
        "type_vocab_size": c.type_vocab_size or 0,
        "hidden_act": SPELT[c.activation],
        "pooler_hidden_act": SPELT_ACTS[c.pooler_activation],
        "conv_act": SPELT_ACTS[c.conv_activation],
        "legacy": c.is_legacy,
    }


def _size(hf: ForeignConfig, name: str) -> int | None:
    """A size that is 0, or absent, where there is no such part."""
    size = hf.as_type(int, hf.get(name, 0), name)
    hf.assumed.pop(name, None)  # most files leave it out
    return size or None


def _is_legacy(hf: ForeignConfig) -> bool:
    """Which of its two masked-LM heads a file has: the key is younger than most files, whose tensors tell it."""
    if hf.raw.get("legacy") is not None:
        return hf.as_type(bool, hf["legacy"], "legacy")
    firsts = {name.partition(".")[0] for name in hf.tensors}
    return "cls" in firsts or "lm_predictions" not in firsts


DEBERTA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
