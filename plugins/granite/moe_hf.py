"""Granite's mixture of experts as Hugging Face stores it: the experts stacked, gate and up in one tensor."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, rename, rule, split
from zoo.weights.hf_layout import DECODER_KEYS, LAYER, decoder_table, write_decoder

from .config import GraniteMoEConfig
from .hf import FACTORS

KEYS = (
    *DECODER_KEYS, *FACTORS, key("attention_bias", default=False), key("num_experts", "num_local_experts"),
    key("experts_per_token", "num_experts_per_tok"),
)  # fmt: skip


def from_config(hf: ForeignConfig) -> GraniteMoEConfig:
    hf.of_class("GraniteMoeForCausalLM")
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout", "output_router_logits", "router_aux_loss_coef")
    return GraniteMoEConfig(**hf.read(GraniteMoEConfig, KEYS), **hf.tokens(), rope=hf.rope())


def to_config(c: GraniteMoEConfig) -> dict[str, Any]:
    return write_decoder(c, "granitemoe", "GraniteMoeForCausalLM", KEYS, hidden_act="silu")


def mapping(c: GraniteMoEConfig) -> Table:
    moe, width = "block_sparse_moe", c.intermediate_size
    gate_up, halves = ("mlp.experts.gate_proj", "mlp.experts.up_proj"), split(width, width, dim=1)
    return decoder_table(
        c,
        rule(gate_up, f"{moe}.input_linear.weight", halves),
        rename("mlp.experts.down_proj", f"{moe}.output_linear.weight"),
        rename("mlp.router.weight", f"{moe}.router.layer.weight"),
        rule(gate_up, f"{moe}.experts.gate_up_proj", halves),  # these three as transformers 5 keeps them in memory
        rename("mlp.experts.down_proj", f"{moe}.experts.down_proj"),
        rename("mlp.router.weight", f"{moe}.router.weight"),
        *LAYER,
    )


GRANITE_MOE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
