"""The names of DeepSeek's tensors on the hub: one per expert, multi-token prediction as layers after the last.

Apart from hf.py, which reads and writes config.json, because the modules that need not be loaded make a table of their
own.
"""

from __future__ import annotations

from collections.abc import Mapping

from zoo.weights import Entry, Table, TensorInfo, alias, rename, under
from zoo.weights.ahead import module_rules, unasked_modules
from zoo.weights.hf_layout import PROJECTIONS, expert_rules, ignore_frequencies

from .config import DeepSeekConfig

ATTENTION = {
    "q_proj": "q_proj", "q_down": "q_a_proj", "q_norm": "q_a_layernorm", "q_up": "q_b_proj",
    "kv_down": "kv_a_proj_with_mqa", "kv_norm": "kv_a_layernorm", "kv_up": "kv_b_proj", "o_proj": "o_proj",
    "indexer.q_up": "indexer.wq_b", "indexer.k_proj": "indexer.wk", "indexer.k_norm": "indexer.k_norm",
    "indexer.head_weights": "indexer.weights_proj",
}  # fmt: skip


def mapping(c: DeepSeekConfig) -> Table:
    """The table of files that hold just what the model does."""
    return mapping_of(c, {})


def mapping_of(c: DeepSeekConfig, tensors: Mapping[str, TensorInfo]) -> Table:
    """The table of files that hold `tensors`: the modules among them that nobody asked for are left out."""
    return Table(
        rename("embed", "model.embed_tokens"),
        under("layers.{i}", "model.layers.{i}", *_layer(c)),
        rename("norm", "model.norm"),
        alias("lm_head.weight", of="model.embed_tokens.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
        *(module_rules(k, c.num_layers, _layer(c), tied=c.tie_embeddings) for k in range(c.num_mtp_layers)),
        unasked_modules(c.num_layers, c.num_mtp_layers, tensors),
    )


def _layer(c: DeepSeekConfig) -> list[Entry]:
    return [
        rename("attn_norm", "input_layernorm"),
        *(rename(f"attn.{ours}", f"self_attn.{theirs}") for ours, theirs in ATTENTION.items()),
        rename("mlp_norm", "post_attention_layernorm"),
        *(rename(f"mlp.{name}", f"mlp.{name}") for name in PROJECTIONS),
        rename("mlp.router.weight", "mlp.gate.weight"),
        rename("mlp.router.bias", "mlp.gate.e_score_correction_bias"),
        rename("mlp.shared", "mlp.shared_experts"),
        *expert_rules(c.num_experts, c.moe_intermediate_size),
        ignore_frequencies("self_attn.rotary_emb.inv_freq", c.rope_head_dim, c),
    ]
