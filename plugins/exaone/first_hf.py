"""EXAONE 3 as its makers store it: LLaMA's tensors under the names of GPT-2's, `c_fc_0` the gate."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, alias, key, rename, under
from zoo.weights.hf_layout import decoder_keys, ignore_frequencies, write_decoder

from .config import ExaoneConfig

KEYS = (
    *(k for k in decoder_keys(norm="layer_norm_epsilon", norm_eps=1e-5) if k.ours != "num_layers"),
    key("num_layers", also=("num_hidden_layers",)),
)


def from_config(hf: ForeignConfig) -> ExaoneConfig:
    hf.of_class("ExaoneForCausalLM", code=("exaone",))
    hf.expect(activation_function="silu")
    hf.ignore("attention_dropout", "embed_dropout")
    return ExaoneConfig(**hf.read(ExaoneConfig, KEYS), **hf.tokens(), rope=hf.rope())


def to_config(c: ExaoneConfig) -> dict[str, Any]:
    return write_decoder(c, "exaone", "ExaoneForCausalLM", KEYS, activation_function="silu")


def mapping(c: ExaoneConfig) -> Table:
    return Table(
        rename("embed", "transformer.wte"),
        under(
            "layers.{i}", "transformer.h.{i}",
            rename("attn_norm", "ln_1"),
            rename("attn.o_proj", "attn.attention.out_proj"),
            rename("attn", "attn.attention"),
            rename("mlp_norm", "ln_2"),
            rename("mlp.gate_proj", "mlp.c_fc_0"),
            rename("mlp.up_proj", "mlp.c_fc_1"),
            rename("mlp.down_proj", "mlp.c_proj"),
            ignore_frequencies("attn.attention.rotary.inv_freq", c.head_dim, c),
        ),
        rename("norm", "transformer.ln_f"),
        alias("lm_head.weight", of="transformer.wte.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
    )  # fmt: skip


EXAONE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
