"""DeepSeek's config.json: V2 and V3 differ in how they route, in the keys for it and in their defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.weights import Dialect, ForeignConfig, key, write_keys, write_rope, write_tokens
from zoo.weights.ahead import read_loaded, write_loaded
from zoo.weights.hf_layout import DECODER_KEYS

from .config import DeepSeekConfig
from .hf_table import mapping, mapping_of

__all__ = ["from_config", "mapping", "mapping_of", "to_config"]

SCORING = {"deepseek_v2": "softmax", "deepseek_v3": "sigmoid"}  # of each model_type
KEYS = (
    *(k for k in DECODER_KEYS if k.ours not in ("num_kv_heads", "head_dim")),
    key("q_lora_rank", default=None),
    key("kv_lora_rank"),
    key("nope_head_dim", "qk_nope_head_dim"),
    key("rope_head_dim", "qk_rope_head_dim"),
    key("v_head_dim"),
    key("attention_bias", default=False),
    key("num_dense_layers", "first_k_dense_replace"),
    key("moe_layer_freq", default=1, is_told=False),  # as the tensors tell; transformers 5 does not write it
    key("num_experts", "n_routed_experts"),
    key("experts_per_token", "num_experts_per_tok"),
    key("moe_intermediate_size"),
    key("num_shared_experts", "n_shared_experts", default=0),
    key("is_renormalised", "norm_topk_prob"),
    key("routed_scale", "routed_scaling_factor"),
    key("rope_interleaved", "rope_interleave", default=True, is_told=False),
)
V3_KEYS = tuple(replace(k, default=4096) if k.ours == "max_seq_len" else k for k in KEYS)
GROUPS = (key("num_groups", "n_group"), key("groups_per_token", "topk_group"))
# Of training and of serving in parallel.
INERT = (
    "attention_dropout", "aux_loss_alpha", "seq_aux", "ep_size", "pretraining_tp", "output_router_logits",
    "num_nextn_predict_layers", "num_mtp_layers",
)  # fmt: skip


def from_config(hf: ForeignConfig) -> DeepSeekConfig:
    scoring = SCORING.get(str(hf.get("model_type"))) or hf["scoring_func"]
    hf.of_class("DeepseekV2ForCausalLM" if scoring == "softmax" else "DeepseekV3ForCausalLM", code=("deepseek",))
    values = hf.read(DeepSeekConfig, V3_KEYS if scoring == "sigmoid" else KEYS)
    hf.expect(hidden_act="silu")
    hf.require(mlp_bias=False, num_key_value_heads=values["num_heads"])
    nope, rope = values["nope_head_dim"], values["rope_head_dim"]
    hf.require(head_dim=rope, qk_head_dim=nope + rope)  # which transformers 5 writes, and rotates by
    hf.ignore(*INERT)
    hf.require(scoring_func=scoring)
    if scoring == "sigmoid":
        hf.require(topk_method="noaux_tc")
        values |= hf.read(DeepSeekConfig, GROUPS)
    elif hf.one_of("topk_method", {m: m for m in ("greedy", "group_limited_greedy")}, "greedy") == "greedy":
        hf.ignore("n_group", "topk_group")
    else:
        values |= hf.read(DeepSeekConfig, GROUPS)
    values |= read_loaded(hf)
    return DeepSeekConfig(**values, **hf.tokens(), scoring=scoring, rope=hf.rope())


def to_config(c: DeepSeekConfig) -> dict[str, Any]:
    kind = next(name for name, scoring in SCORING.items() if scoring == c.scoring)
    softmax = "greedy" if c.num_groups == 1 else "group_limited_greedy"
    return {
        "architectures": [f"{kind.title().replace('_', '')}ForCausalLM"],
        "model_type": kind,
        "hidden_act": "silu",
        **write_keys(c, (*KEYS, *GROUPS)),
        **write_tokens(c),
        "num_key_value_heads": c.num_heads,
        "scoring_func": c.scoring,
        "topk_method": softmax if c.scoring == "softmax" else "noaux_tc",
        "rope_parameters": write_rope(c.rope),
        "num_nextn_predict_layers": c.num_mtp_layers,
        **write_loaded(c.num_mtp_layers),
    }


DEEPSEEK = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping_of)
