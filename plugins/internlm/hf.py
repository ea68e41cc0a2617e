"""InternLM 2 as its makers store it: `wqkv` has each key/value head behind the queries that share it; w3 is up."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, alias, key, must_be, rename, rule, split_heads, under
from zoo.weights.hf_layout import decoder_keys, head_dim_of, ignore_frequencies, write_decoder

from .config import InternLM2Config

KEYS = (*(k for k in decoder_keys() if k.ours != "head_dim"), key("attention_bias", "bias", default=True))


def from_config(hf: ForeignConfig) -> InternLM2Config:
    hf.of_class("InternLM2ForCausalLM", code=("internlm2",))
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout", "attn_implementation", "pretraining_tp")
    values = hf.read(InternLM2Config, KEYS) | hf.tokens()
    return InternLM2Config(**values, head_dim=head_dim_of(hf, values), rope=hf.rope())


def to_config(c: InternLM2Config) -> dict[str, Any]:
    must_be(c, "an InternLM 2 config.json", hidden_size=c.num_heads * c.head_dim)
    return write_decoder(c, "internlm2", "InternLM2ForCausalLM", KEYS, hidden_act="silu")


def mapping(c: InternLM2Config) -> Table:
    embedding, queries = "model.tok_embeddings", c.num_heads // c.num_kv_heads * c.head_dim
    return Table(
        rename("embed", embedding),
        under(
            "layers.{i}", "model.layers.{i}",
            rename("attn_norm", "attention_norm"),
            rule(
                ("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attention.wqkv",
                split_heads(c.num_kv_heads, queries, c.head_dim, c.head_dim),
            ),
            rename("attn.o_proj", "attention.wo"),
            rename("mlp_norm", "ffn_norm"),
            rename("mlp.gate_proj", "feed_forward.w1"),
            rename("mlp.up_proj", "feed_forward.w3"),
            rename("mlp.down_proj", "feed_forward.w2"),
            ignore_frequencies("attention.rotary_emb.inv_freq", c.head_dim, c),
        ),
        rename("norm", "model.norm"),
        alias("output.weight", of=f"{embedding}.weight") if c.tie_embeddings else rename("lm_head", "output"),
    )  # fmt: skip


INTERNLM2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
