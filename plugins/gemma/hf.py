"""Gemma 1, 2 and 3 (text) as Hugging Face stores them, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.config import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import ForeignConfig, Table, key, must_be, rename, write_keys, write_rope, write_tokens
from zoo.weights.hf_layout import DECODER_KEYS, LAYER, decoder_table

from .config import GemmaConfig

KEYS = (
    *(k for k in DECODER_KEYS if k.ours not in ("tie_embeddings", "head_dim")),
    key("head_dim", default=256),
    key("tie_embeddings", "tie_word_embeddings", default=True),
)
SLIDING_KEYS = (key("sliding_window", also=("sliding_window_size",), default=4096), key("query_pre_attn_scalar"))
SOFTCAP_KEYS = (
    key("attn_softcap", "attn_logit_softcapping", default=None),
    key("final_softcap", "final_logit_softcapping", default=None),
)
SANDWICH = (
    rename("attn_norm", "input_layernorm"),
    rename("attn", "self_attn"),
    rename("attn_post_norm", "post_attention_layernorm"),
    rename("mlp_norm", "pre_feedforward_layernorm"),
    rename("mlp", "mlp"),
    rename("mlp_post_norm", "post_feedforward_layernorm"),
)
TYPES = {"gemma": 1, "gemma2": 2, "gemma3_text": 3}


def from_config(hf: ForeignConfig) -> GemmaConfig:
    return GemmaConfig(**read_text(hf, TYPES[hf["model_type"]]), **hf.tokens())


def read_text(hf: ForeignConfig, generation: int, **defaults: Any) -> dict[str, Any]:
    """Our fields, special tokens apart; `defaults` stand in for keys that may be absent."""
    keys, sliding = (
        [replace(k, default=defaults.get(k.ours, k.default)) for k in table] for table in (KEYS, SLIDING_KEYS)
    )
    # Old Gemma 1 files say `hidden_act: gelu` and mean the tanh form; newer ones add `hidden_activation`.
    for name in ("hidden_activation", "hidden_act"):
        if hf.get(name, "gelu_pytorch_tanh") not in ("gelu_pytorch_tanh", "gelu", "gelu_new"):
            raise CheckpointError(hf.file, name, f"{hf[name]!r} is not supported here, only gelu_pytorch_tanh is")
    hf.require(attention_bias=False, use_bidirectional_attention=False)
    hf.ignore("attention_dropout", "cache_implementation", "sliding_window_size", "_sliding_window_pattern")
    values = hf.read(GemmaConfig, keys)
    if generation == 1:
        values |= {"query_pre_attn_scalar": float(values["head_dim"])}
    else:
        values |= hf.read(GemmaConfig, (*sliding, *SOFTCAP_KEYS))
        values["local_per_global"] = _local_per_global(hf, values["num_layers"], 1 if generation == 2 else 5)
    rope = hf.rope(theta=1_000_000.0 if generation == 3 else 10_000.0, layer_type="full_attention")
    return {**values, "generation": generation, "rope": rope, "local_rope": _local_rope(hf, generation, rope)}


def _local_per_global(hf: ForeignConfig, num_layers: int, default: int) -> int:
    """How many local layers stand before each global one, from `layer_types` or `sliding_window_pattern`."""
    pattern = hf.get("sliding_window_pattern", default + 1, also=("_sliding_window_pattern",))
    kinds = hf.get("layer_types")
    if kinds is None:
        return pattern - 1
    full = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
    local = full[0] if full else num_layers
    expected = ["full_attention" if (i + 1) % (local + 1) == 0 else "sliding_attention" for i in range(num_layers)]
    if kinds != expected:
        raise CheckpointError(hf.file, "layer_types", "local and global layers do not alternate evenly")
    return local


def _local_rope(hf: ForeignConfig, generation: int, rope: RopeConfig) -> RopeConfig:
    """Gemma 3's local layers have a base of their own, never stretched; Gemma 2's rotate like the global ones."""
    if generation != 3:
        return rope
    if "sliding_attention" in (hf.raw.get("rope_parameters") or {}):
        return hf.rope(layer_type="sliding_attention")
    return RopeConfig(theta=float(hf.get("rope_local_base_freq", 10_000.0)))


def to_config(c: GemmaConfig) -> dict[str, Any]:
    archs = {1: "GemmaForCausalLM", 2: "Gemma2ForCausalLM", 3: "Gemma3ForCausalLM"}
    return {"architectures": [archs[c.generation]], **write_text(c), **write_tokens(c)}


def write_text(c: GemmaConfig) -> dict[str, Any]:
    """`read_text`, backwards."""
    if c.generation == 1:
        plain = {"attn_softcap": None, "final_softcap": None, "sliding_window": None, "local_per_global": 0}
        must_be(c, "a Gemma 1 config.json", query_pre_attn_scalar=float(c.head_dim), **plain)
    if c.generation < 3:
        must_be(c, f"a Gemma {c.generation} config.json", local_rope=c.rope)
    name = {1: "gemma", 2: "gemma2", 3: "gemma3_text"}[c.generation]
    out: dict[str, Any] = {
        "model_type": name,
        "hidden_activation": "gelu_pytorch_tanh",
        **write_keys(c, KEYS),
    }
    if c.generation == 1:
        return out | {"rope_parameters": write_rope(c.rope)}
    kinds = ["full_attention" if c.window_of(i) is None else "sliding_attention" for i in range(c.num_layers)]
    out |= {**write_keys(c, (*SLIDING_KEYS, *SOFTCAP_KEYS)), "layer_types": kinds}
    if c.query_pre_attn_scalar.is_integer():
        out["query_pre_attn_scalar"] = int(c.query_pre_attn_scalar)  # transformers 5 refuses 256.0
    rope = write_rope(c.rope)
    nested = {"full_attention": rope, "sliding_attention": write_rope(c.local_rope)}
    return out | {"rope_parameters": nested if c.generation == 3 else rope}


def mapping(c: GemmaConfig) -> Table:
    return decoder_table(c, *(LAYER if c.generation == 1 else SANDWICH))
