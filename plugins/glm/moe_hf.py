"""GLM-4.5 as Hugging Face stores it: one tensor per expert, or transformers 5's stacks; a dialect of its own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    TensorInfo,
    key,
    rename,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.ahead import module_rules, read_loaded, unasked_modules, write_loaded
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, expert_rules

from .config import GLM4MoEConfig

KEYS = (
    *decoder_keys(num_kv_heads=8, max_seq_len=131_072, norm_eps=1e-5),
    key("attention_bias", default=False),
    key("has_qk_norm", "use_qk_norm", default=False),
    key("num_dense_layers", "first_k_dense_replace"),
    key("num_experts", "n_routed_experts", also=("num_local_experts",)),
    key("experts_per_token", "num_experts_per_tok"),
    key("moe_intermediate_size"),
    key("num_shared_experts", "n_shared_experts", default=0),
    key("num_groups", "n_group", default=1),
    key("groups_per_token", "topk_group", default=1),
    key("is_renormalised", "norm_topk_prob", default=True),
    key("routed_scale", "routed_scaling_factor", default=1.0),
)
INERT = ("attention_dropout", "output_router_logits", "num_nextn_predict_layers", "num_mtp_layers")


def from_config(hf: ForeignConfig) -> GLM4MoEConfig:
    hf.of_class("Glm4MoeForCausalLM")
    hf.expect(hidden_act="silu")
    hf.require(scoring_func="sigmoid", topk_method="noaux_tc")
    hf.ignore(*INERT)
    values = hf.read(GLM4MoEConfig, KEYS)
    hf.require(num_local_experts=values["num_experts"])
    return GLM4MoEConfig(**values, **read_loaded(hf), **hf.tokens(), rope=hf.rope(partial=0.5))


def to_config(c: GLM4MoEConfig) -> dict[str, Any]:
    return {
        "architectures": ["Glm4MoeForCausalLM"],
        "model_type": "glm4_moe",
        "hidden_act": "silu",
        **write_keys(c, KEYS),
        **write_tokens(c),
        "rope_parameters": write_rope(c.rope, partial=0.5),
        "num_nextn_predict_layers": c.num_mtp_layers,
        **write_loaded(c.num_mtp_layers),
    }


def mapping(c: GLM4MoEConfig) -> Table:
    """The table of files that hold just what the model does."""
    return mapping_of(c, {})


def mapping_of(c: GLM4MoEConfig, tensors: Mapping[str, TensorInfo]) -> Table:
    """The table of files that hold `tensors`: multi-token prediction layers among them are left out."""
    layer = (*_experts(c), *LAYER)
    ahead = [module_rules(k, c.num_layers, layer, tied=c.tie_embeddings) for k in range(c.num_mtp_layers)]
    skipped = unasked_modules(c.num_layers, c.num_mtp_layers, tensors)
    return decoder_table(c, *layer, more=(*chain(*ahead), *skipped))


def _experts(c: GLM4MoEConfig) -> list[Entry]:
    return [
        rename("mlp.router.weight", "mlp.gate.weight"),
        rename("mlp.router.bias", "mlp.gate.e_score_correction_bias"),
        rename("mlp.shared", "mlp.shared_experts"),
        *expert_rules(c.num_experts, c.moe_intermediate_size),
    ]


GLM4_MOE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping_of)
