"""gpt-oss as Hugging Face stores it: experts in MXFP4, which the reader of files unpacks, or in plain numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    interleaved,
    key,
    rename,
    rule,
    transpose,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table

from .config import GptOssConfig

WINDOW = 128
KEYS = (
    *decoder_keys(head_dim=64, max_seq_len=131_072, norm_eps=1e-5, num_kv_heads=8),
    key("num_experts", "num_local_experts", also=("num_experts",)),
    key("experts_per_token", "num_experts_per_tok", also=("experts_per_token",)),
    key("attention_bias", default=True),
    key("swiglu_alpha", default=1.702, is_told=False),  # younger than the released files
    key("swiglu_limit", default=7.0),
    key("sliding_window", default=WINDOW),
)
KINDS = ("full_attention", "sliding_attention")
# What the class of transformers takes where a file does not speak of rotation at all.
ROPE = RopeConfig(theta=150_000.0, scaling="yarn", factor=32.0, original_max_seq_len=4096, truncate=False)


def from_config(hf: ForeignConfig) -> GptOssConfig:
    hf.of_class("GptOssForCausalLM")
    hf.require(hidden_act="silu")
    hf.ignore("attention_dropout", "output_router_logits", "router_aux_loss_coef")
    values = hf.read(GptOssConfig, KEYS)
    rope = read_rope(hf)
    # OpenAI's own names, which stand in the released files beside transformers'.
    hf.require(experts_per_token=values["experts_per_token"], num_experts=values["num_experts"])
    if rope.scaling == "yarn":
        hf.require(initial_context_length=rope.original_max_seq_len)
    hf.ignore("initial_context_length")
    return GptOssConfig(**values, **hf.tokens(), rope=rope, sliding_layers=sliding_layers(hf, values))


def read_rope(hf: ForeignConfig) -> RopeConfig:
    """The group of rotary keys, or where there is none, YaRN as it was released."""
    if "rope_parameters" in hf or "rope_scaling" in hf:
        return hf.rope(theta=150_000.0)
    theta = hf.as_type(float, hf.get("rope_theta", ROPE.theta), "rope_theta")
    hf.used.update({"rope_parameters", "rope_scaling"} & hf.raw.keys())
    hf.assumed["rope_parameters"] = {"rope_type": "yarn", "factor": ROPE.factor}
    return replace(ROPE, theta=theta)


def sliding_layers(hf: ForeignConfig, values: dict[str, Any]) -> list[int] | None:
    """The layers with a window: those that `layer_types` names, or every other one."""
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    count = values["num_layers"]
    if kinds is None:
        kinds = [KINDS[i % 2 == 0] for i in range(count)]
    if len(kinds) != count or not set(kinds) <= set(KINDS):
        raise CheckpointError(hf.file, "layer_types", f"it does not say {' or '.join(KINDS)} of each of {count} layers")
    layers = [i for i, kind in enumerate(kinds) if kind == KINDS[1]]
    if layers and values["sliding_window"] is None:
        raise CheckpointError(hf.file, "sliding_window", "it is null, but layers are to have a window")
    return layers


def to_config(c: GptOssConfig) -> dict[str, Any]:
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "hidden_act": "silu",
        **write_keys(c, KEYS),
        **write_tokens(c),
        "sliding_window": c.sliding_window or WINDOW,  # transformers wants a number, also where no layer has a window
        "layer_types": [KINDS[c.window_of(i) is not None] for i in range(c.num_layers)],
        "rope_parameters": write_rope(c.rope),
    }


def mapping(c: GptOssConfig) -> Table:
    """Experts lie [E, in, out]; the rows of gate and up alternate."""
    both = ("gate", "up")
    experts = "mlp.experts"
    return decoder_table(
        c,
        rule(tuple(f"{experts}.{x}_proj" for x in both), f"{experts}.gate_up_proj", transpose >> interleaved(2, dim=1)),
        rule(tuple(f"{experts}.{x}_bias" for x in both), f"{experts}.gate_up_proj_bias", interleaved(2, dim=1)),
        rule(f"{experts}.down_proj", f"{experts}.down_proj", transpose),
        rename(f"{experts}.down_bias", f"{experts}.down_proj_bias"),
        *LAYER,
    )


GPT_OSS = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
