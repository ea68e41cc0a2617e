"""Mixtral as Hugging Face stores it: `block_sparse_moe`, a tensor per expert, w1 the gate, w3 the up-projection."""

from __future__ import annotations

from typing import Any

from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    key,
    must_be,
    rename,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, expert_rules

from .config import MixtralConfig

KEYS = (
    *decoder_keys(max_seq_len=131_072, norm_eps=1e-5),
    key("sliding_window", default=None),
    key("num_experts", "num_local_experts"),
    key("experts_per_token", "num_experts_per_tok"),
)


def from_config(hf: ForeignConfig) -> MixtralConfig:
    hf.of_class("MixtralForCausalLM")
    hf.expect(hidden_act="silu")
    hf.require(attention_bias=False)
    hf.ignore("attention_dropout", "router_aux_loss_coef", "output_router_logits", "router_jitter_noise")
    return MixtralConfig(**hf.read(MixtralConfig, KEYS), **hf.tokens(), rope=hf.rope(theta=1_000_000.0))


def to_config(c: MixtralConfig) -> dict[str, Any]:
    must_be(c, "a Mixtral config.json", sliding_layers=None)
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "hidden_act": "silu",
        **write_keys(c, KEYS),
        **write_tokens(c),
        "rope_parameters": write_rope(c.rope),
    }


def mapping(c: MixtralConfig) -> Table:
    moe = "block_sparse_moe"
    experts = expert_rules(c.num_experts, c.intermediate_size, module=moe, names=("w1", "w3", "w2"))
    router: list[Entry] = [rename("mlp.router", f"{moe}.gate"), rename("mlp.router", "mlp.gate")]
    return decoder_table(c, *experts, *router, *LAYER)


MIXTRAL = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
