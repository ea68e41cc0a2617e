"""OLMo 2 and 3 as Hugging Face stores them; the layers of OLMo 3 with a window rotate without YaRN."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig, all_but_every
from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    key,
    must_be,
    read_sliding_layers,
    rename,
    write_layer_types,
    write_rope,
)
from zoo.weights.hf_layout import decoder_keys, decoder_table, write_decoder

from .config import Olmo2Config

KEYS = (*decoder_keys(norm_eps=1e-5), key("attention_bias", default=False))
TYPES = {"olmo2": "Olmo2ForCausalLM", "olmo3": "Olmo3ForCausalLM"}
THETA = 500_000.0  # of OLMo 3


def from_config(hf: ForeignConfig) -> Olmo2Config:
    kind = hf.one_of("model_type", {name: name for name in TYPES}, "")
    hf.of_class(TYPES[kind])
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout")
    values = hf.read(Olmo2Config, KEYS) | hf.tokens()
    if kind == "olmo2":
        rope = hf.rope()
        return Olmo2Config(**values, rope=rope, local_rope=rope)
    values |= hf.read(Olmo2Config, [key("sliding_window", default=4096)])
    if values["sliding_window"] is None:
        raise CheckpointError(hf.file, "sliding_window", "null is not the window of an OLMo 3")
    layers = read_sliding_layers(hf, values["num_layers"], all_but_every(4, values["num_layers"]))
    rope = hf.rope(theta=THETA, layer_type="full_attention")
    return Olmo2Config(**values, sliding_layers=layers, rope=rope, local_rope=local_rope(hf))


def local_rope(hf: ForeignConfig) -> RopeConfig:
    """How layers with a window rotate: never stretched, where the file has no group for them."""
    if "sliding_attention" in (hf.raw.get("rope_parameters") or {}):
        return hf.rope(theta=THETA, layer_type="sliding_attention")
    if hf.raw.get("rope_theta") not in (None, THETA):
        what = f"{hf.raw['rope_theta']!r} is not supported beside the groups of rope_parameters, only {THETA:g} is"
        raise CheckpointError(hf.file, "rope_theta", what, why="programs differ in which layers use it")
    return RopeConfig(theta=THETA)


def to_config(c: Olmo2Config) -> dict[str, Any]:
    if c.sliding_window is None or c.sliding_layers is None:
        must_be(c, "an OLMo 2 config.json", local_rope=c.rope)
        return write_decoder(c, "olmo2", TYPES["olmo2"], KEYS, hidden_act="silu")
    return write_decoder(c, "olmo3", TYPES["olmo3"], KEYS, hidden_act="silu") | {
        "sliding_window": c.sliding_window,
        "layer_types": write_layer_types(c.num_layers, c.sliding_layers),
        "rope_parameters": {
            "full_attention": write_rope(c.rope), "sliding_attention": write_rope(c.local_rope),
        },
    }  # fmt: skip


def mapping(c: Olmo2Config) -> Table:
    return decoder_table(
        c,
        rename("attn", "self_attn"),
        rename("attn_norm", "post_attention_layernorm"),
        rename("mlp", "mlp"),
        rename("mlp_norm", "post_feedforward_layernorm"),
    )


OLMO2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
