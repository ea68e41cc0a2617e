"""Gemma 1, 2 and 3 (text) as Hugging Face stores them, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename, write_keys, write_rope, write_tokens
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table

from .config import GemmaConfig
from .hf_layers import USUAL, global_rope, local_per_global, local_rope

KEYS = decoder_keys(head_dim=256, tie_embeddings=True)
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
TANH = ("gelu_pytorch_tanh", "gelu_new")
CLASSES = {1: "GemmaForCausalLM", 2: "Gemma2ForCausalLM", 3: "Gemma3ForCausalLM"}
TYPES = {"gemma": 1, "gemma2": 2, "gemma3_text": 3}
DEFAULTS: dict[int, dict[str, Any]] = {  # of each generation's class in transformers, where a key is absent
    1: {"max_seq_len": 8192},
    2: {"max_seq_len": 8192, "attn_softcap": 50.0, "final_softcap": 30.0},
    3: {"max_seq_len": 131_072},
}


def from_config(hf: ForeignConfig) -> GemmaConfig:
    kind = hf.one_of("model_type", {name: name for name in TYPES}, "")
    hf.of_class(CLASSES[TYPES[kind]])
    return GemmaConfig(**read_text(hf, TYPES[kind]), **hf.tokens())


def read_text(hf: ForeignConfig, generation: int, **defaults: Any) -> dict[str, Any]:
    """Our fields, special tokens apart; `defaults` stand in for keys that may be absent."""
    defaults = DEFAULTS[generation] | defaults
    keys, sliding = (
        [replace(k, default=defaults.get(k.ours, k.default)) for k in table]
        for table in (KEYS, (*SLIDING_KEYS, *SOFTCAP_KEYS))
    )
    # Old Gemma 1 files say `hidden_act: gelu` and mean the tanh form; newer ones add `hidden_activation`.
    if "hidden_activation" in hf or "hidden_act" not in hf:
        hf.one_of("hidden_activation", dict.fromkeys(TANH, ""), TANH[0])
    if "hidden_act" in hf:
        hf.one_of("hidden_act", dict.fromkeys((*TANH, "gelu"), ""), TANH[0])
    hf.require(attention_bias=False, use_bidirectional_attention=False)
    hf.ignore("attention_dropout", "cache_implementation", "_sliding_window_pattern")
    values = hf.read(GemmaConfig, keys)
    if generation == 1:
        values |= {"query_pre_attn_scalar": float(values["head_dim"])}
    else:
        values |= hf.read(GemmaConfig, sliding)
        hf.require(sliding_window_size=values["sliding_window"])
        values["local_per_global"] = local_per_global(hf, values["num_layers"], USUAL[generation])
    rope = hf.rope() if generation < 3 else global_rope(hf)
    return {**values, "generation": generation, "rope": rope, "local_rope": local_rope(hf, generation, rope)}


def to_config(c: GemmaConfig) -> dict[str, Any]:
    return {"architectures": [CLASSES[c.generation]], **write_text(c), **write_tokens(c)}


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
    if c.generation == 3 and c.num_layers <= c.local_per_global != USUAL[3]:  # types do not tell the period then
        out["sliding_window_pattern"] = c.local_per_global + 1
    if c.query_pre_attn_scalar.is_integer():
        out["query_pre_attn_scalar"] = int(c.query_pre_attn_scalar)  # transformers 5 refuses 256.0
    rope = write_rope(c.rope)
    nested = {"full_attention": rope, "sliding_attention": write_rope(c.local_rope)}
    return out | {"rope_parameters": nested if c.generation == 3 else rope}


def mapping(c: GemmaConfig) -> Table:
    return decoder_table(c, *(LAYER if c.generation == 1 else SANDWICH))


GEMMA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
