"""The text of Gemma 4 as Hugging Face stores it; the towers of the released files are listed as ignored."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    key,
    rename,
    rule,
    split,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import decoder_keys, decoder_table

from ..text import EMBEDDINGS, SPELLING, read_text, unread
from ..text import LAYER as BY_LAYER
from .config import EVERY, Gemma4Config, global_numbers

KEYS = (
    *decoder_keys(head_dim=256, num_kv_heads=4, max_seq_len=131_072, tie_embeddings=True),
    key("final_softcap", "final_logit_softcapping", default=None),
    key("sliding_window", default=512),
    key("has_equal_keys", "attention_k_eq_v", default=False),
    key("is_doubled", "use_double_wide_mlp", default=False),
)
EXPERT_KEYS = (
    key("num_experts"),
    key("experts_per_token", "top_k_experts"),
    key("expert_size", "moe_intermediate_size"),
)
SHARED, EMBED = "num_kv_shared_layers", "hidden_size_per_layer_input"
LOCAL, GLOBAL = KINDS = ("sliding_attention", "full_attention")
BESIDE = (
    "vision_config", "audio_config", "image_token_id", "video_token_id", "audio_token_id", "boi_token_id",
    "eoi_token_id", "boa_token_id", "eoa_token_id", "eoa_token_index", "vision_soft_tokens_per_image",
    "audio_soft_tokens_per_image",
)  # fmt: skip
LAYER: tuple[Entry, ...] = (
    rename("scalar", "layer_scalar"),
    *BY_LAYER,
)


def from_config(hf: ForeignConfig) -> Gemma4Config:
    hf.of_class("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration")
    return read_text(hf, "gemma4_text", BESIDE, read)


def read(hf: ForeignConfig, tokens: dict[str, Any]) -> Gemma4Config:
    """The text's keys."""
    return Gemma4Config(**read_fields(hf), **tokens)


def read_fields(hf: ForeignConfig) -> dict[str, Any]:
    """Our fields, special tokens apart."""
    hf.expect(hidden_activation="gelu_pytorch_tanh")
    hf.require(attention_bias=False)
    # What sees in both directions for pictures alone does not in a text.
    if hf.get("use_bidirectional_attention", None) not in (None, "vision"):
        hf.require(use_bidirectional_attention=False)
    hf.ignore("attention_dropout")
    values = hf.read(Gemma4Config, KEYS)
    count, width = values["num_layers"], hf.as_type(int, hf.get(EMBED, 256), EMBED)
    if width:
        hf.expect(vocab_size_per_layer_input=values["vocab_size"])
    hf.ignore("vocab_size_per_layer_input")
    if hf.as_type(bool, hf.get("enable_moe_block", False), "enable_moe_block"):
        values |= hf.read(Gemma4Config, EXPERT_KEYS)
    hf.ignore("num_experts", "top_k_experts", "moe_intermediate_size")
    shared = hf.as_type(int, hf.get(SHARED, 0), SHARED)
    if not 0 <= shared < count:
        raise CheckpointError(hf.file, SHARED, f"{shared} of {count} layers cannot take the keys of earlier ones")
    layers = global_layers(hf, count)
    return {
        **values, **global_heads(hf, values, layers), **ropes(hf), "global_layers": layers,
        "sharing_from": count - shared, "layer_embed_dim": width or None,
    }  # fmt: skip


def global_layers(hf: ForeignConfig, count: int) -> list[int]:
    """The layers that see all tokens: every sixth where the file says nothing, and always the last."""
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    if kinds is None:
        return global_numbers(count, EVERY)
    if len(kinds) != count or not set(kinds) <= set(KINDS):
        raise CheckpointError(hf.file, "layer_types", f"it does not say {' or '.join(KINDS)} of each of {count} layers")
    if kinds[-1] != GLOBAL:
        raise CheckpointError(
            hf.file, "layer_types", f"the last layer of a Gemma 4 must be {GLOBAL}, but the file says {kinds[-1]}"
        )
    return [i for i, kind in enumerate(kinds) if kind == GLOBAL]


def global_heads(hf: ForeignConfig, values: dict[str, Any], layers: list[int]) -> dict[str, Any]:
    """Heads of global layers, in the released spelling or, as transformers 5 writes them, layer by layer."""
    dim = hf.as_type(int | None, hf.get("global_head_dim"), "global_head_dim")
    heads = hf.as_type(int | None, hf.get("num_global_key_value_heads"), "num_global_key_value_heads")
    told = {"global_head_dim": dim or 512, "global_kv_heads": heads if values["has_equal_keys"] else None}
    each = hf.as_type(dict[str, dict[str, int]] | None, hf.get("per_layer_config"), "per_layer_config")
    if each is None:
        return told
    hf.assumed.pop("global_head_dim", None)
    usual = {"head_dim": values["head_dim"], "num_key_value_heads": values["num_kv_heads"]}  # which need not be said
    said = {int(name) if name.isdecimal() else -1: one for name, one in each.items()}  # 07 where there are ten layers
    full = [usual | said.get(i, {}) for i in range(values["num_layers"])]
    first = full[layers[0]]
    expected = [first if i in layers else usual for i in range(len(full))]
    if (
        len(said) < len(each)
        or not said.keys() <= {*range(len(full))}
        or full != expected
        or first.keys() != usual.keys()
    ):
        why = "expected the same head_dim, and num_key_value_heads, for each layer that is full_attention and no other"
        raise CheckpointError(hf.file, "per_layer_config", "it is not read", why=why)
    found = {"global_head_dim": first["head_dim"], "global_kv_heads": first["num_key_value_heads"]}
    told["global_kv_heads"] = told["global_kv_heads"] or values["num_kv_heads"]
    if dim is not None and found != told:
        raise CheckpointError(hf.file, "per_layer_config", f"it says {found}, and the other keys say {told}")
    return found


def ropes(hf: ForeignConfig) -> dict[str, Any]:
    """Rotary positions of either kind of layer."""
    name = "rope_parameters"
    if hf.raw.get(name) is None:
        globe, local = RopeConfig(theta=1_000_000.0), RopeConfig()
        hf.get(name, {GLOBAL: {"rope_theta": globe.theta}, LOCAL: {"rope_theta": local.theta}})
        return {"rope": globe, "local_rope": local}
    local = hf.rope(layer_type=LOCAL)
    found = hf.as_type(dict[str, dict[str, Any] | None], hf[name], name).get(GLOBAL) or {}
    kind, factor = found.get("rope_type"), found.get("factor", 1.0)
    if kind not in ("proportional", "default") or factor != 1.0 or not found.keys() <= {
        "rope_type", "rope_theta", "partial_rotary_factor", "factor"
    }:  # fmt: skip
        raise CheckpointError(
            hf.file, f"{name}.{GLOBAL}", f"{found} is not supported",
            why="expected rope_type proportional, rope_theta and partial_rotary_factor",
        )  # fmt: skip
    share = found.get("partial_rotary_factor", 1.0) if kind == "proportional" else 1.0
    return {
        "rope": hf.as_type(RopeConfig, {"theta": found.get("rope_theta")}, f"{name}.{GLOBAL}.rope_theta"),
        "global_rotary": hf.as_type(float, share, f"{name}.{GLOBAL}.partial_rotary_factor"),
        "local_rope": local,
    }


def to_config(c: Gemma4Config) -> dict[str, Any]:
    return {"architectures": ["Gemma4ForCausalLM"], **write_text(c)}


def write_text(c: Gemma4Config) -> dict[str, Any]:
    """The text's keys, and special tokens."""
    layers = range(c.num_layers)
    heads: dict[str, Any] = {"global_head_dim": c.global_head_dim, "num_global_key_value_heads": c.global_kv_heads}
    if c.global_kv_heads is not None and not c.has_equal_keys:  # the released spelling has no word for it
        one = {"head_dim": c.global_head_dim, "num_key_value_heads": c.global_kv_heads}
        heads = {"per_layer_config": {str(i): one for i in layers if c.is_global(i)}}
    experts = write_keys(c, EXPERT_KEYS) if c.num_experts is not None else {}
    return {
        "model_type": "gemma4_text",
        "hidden_activation": "gelu_pytorch_tanh",
        **write_keys(c, KEYS),
        **write_tokens(c),
        **heads,
        **experts,
        "enable_moe_block": c.num_experts is not None,
        SHARED: c.num_layers - c.first_sharing,
        EMBED: c.layer_embed_dim or 0,
        "vocab_size_per_layer_input": c.vocab_size,
        "layer_types": [KINDS[c.is_global(i)] for i in layers],
        "rope_parameters": {
            LOCAL: write_rope(c.local_rope),
            GLOBAL: {
                "rope_type": "proportional", "rope_theta": c.rope.theta, "partial_rotary_factor": c.global_rotary
            },
        },
    }  # fmt: skip


def mapping(c: Gemma4Config) -> Table:
    more = (*EMBEDDINGS, *unread(c.first_sharing, c.num_layers))
    return decoder_table(c, *layer_of(c), more=more, spelling=SPELLING)


def layer_of(c: Gemma4Config) -> tuple[Entry, ...]:
    """The rules of a layer. Some files keep projections of keys and values that no layer reads: see `unread`."""
    width = c.expert_size
    experts: tuple[Entry, ...] = (
        rename("moe.router.weight", "router.proj.weight"),
        rename("moe.gain", "router.scale"),
        rename("moe.router.expert_scale", "router.per_expert_scale"),
        rule(("moe.experts.gate_proj", "moe.experts.up_proj"), "experts.gate_up_proj", split(width, width, dim=1)),
        rename("moe.experts.down_proj", "experts.down_proj"),
        rename("moe.norm", "pre_feedforward_layernorm_2"),
        rename("moe.post_norm", "post_feedforward_layernorm_2"),
        rename("moe.mlp_norm", "post_feedforward_layernorm_1"),
    )
    return (*(experts if c.num_experts is not None else ()), *LAYER)


GEMMA4 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
