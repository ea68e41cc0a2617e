"""Llama 4's text as Hugging Face stores it: experts lie [E, in, out], gate and up in one tensor."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import Dialect, Entry, ForeignConfig, Table, key, rename, rule, split, transpose
from zoo.weights.hf_layout import decoder_keys, decoder_table, write_decoder

from .config import Llama4Config
from .which_layers import KINDS, TUNING, chunks, dense_layers, is_tempered, nope_layers

KEYS = (
    *(
        k
        for k in decoder_keys(
            vocab_size=202_048, hidden_size=5120, num_layers=48, num_heads=40, num_kv_heads=8, head_dim=128,
            max_seq_len=131_072, norm_eps=1e-5,
        )
        if k.ours != "intermediate_size"
    ),
    key("intermediate_size", "intermediate_size_mlp", default=16_384),
    key("moe_intermediate_size", "intermediate_size", default=8192),
    key("num_experts", "num_local_experts", default=16),
    key("experts_per_token", "num_experts_per_tok", default=1),
    key("has_qk_norm", "use_qk_norm", default=True),
    key("temperature_length", "floor_scale", default=8192, is_told=False),  # younger than the released files
    key("temperature_scale", "attn_scale", default=0.1, is_told=False),
    key("attention_bias", default=False),
)  # fmt: skip


def from_config(hf: ForeignConfig) -> Llama4Config:
    hf.of_class("Llama4ForCausalLM")
    return Llama4Config(**read_text(hf), **hf.tokens())


def read_text(hf: ForeignConfig) -> dict[str, Any]:
    """The fields of the text, but for its special tokens."""
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise")
    hf.ignore("for_llm_compressor")
    values = hf.read(Llama4Config, KEYS)
    if "attn_scale" in hf.raw and values["temperature_scale"] is None:
        raise CheckpointError(hf.file, "attn_scale", "null is no number")
    if not is_tempered(hf):
        values["temperature_scale"] = None
    count = values["num_layers"]
    still = nope_layers(hf, count)
    return values | {
        "rope": hf.rope(theta=500_000.0),
        "nope_layers": still,
        "dense_layers": dense_layers(hf, count),
        **chunks(hf, count, still),
    }


def to_config(c: Llama4Config) -> dict[str, Any]:
    return write_text(c, architectures=["Llama4ForCausalLM"])


def write_text(c: Llama4Config, **more: Any) -> dict[str, Any]:
    """The keys of the text."""
    layers, is_tempered = range(c.num_layers), c.temperature_scale is not None
    written = write_decoder(c, "llama4_text", "Llama4ForCausalLM", KEYS, hidden_act="silu") | {
        "attn_scale": c.temperature_scale if is_tempered else 0.1,
        TUNING: is_tempered,
        "no_rope_layers": [int(i not in c.nope_layers) for i in layers],
        "moe_layers": [i for i in layers if i not in c.dense_layers],
        "attention_chunk_size": c.chunk_size,
        "layer_types": [KINDS[c.chunk_of(i) is not None] for i in layers],
    }
    del written["architectures"]
    return more | written


def mapping(c: Llama4Config) -> Table:
    return decoder_table(c, *layer_of(c))


def layer_of(c: Llama4Config) -> tuple[Entry, ...]:
    """The tensors of a layer."""
    width, experts = c.moe_intermediate_size, "mlp.experts"
    return (
        rename("attn_norm", "input_layernorm"),
        rename("attn", "self_attn"),
        rename("mlp_norm", "post_attention_layernorm"),
        rule(
            (f"{experts}.gate_proj", f"{experts}.up_proj"),
            "feed_forward.experts.gate_up_proj",
            transpose >> split(width, width, dim=1),
        ),
        rule(f"{experts}.down_proj", "feed_forward.experts.down_proj", transpose),
        rename("mlp.router", "feed_forward.router"),
        rename("mlp.shared", "feed_forward.shared_expert"),
        rename("mlp", "feed_forward"),
    )


LLAMA4 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
