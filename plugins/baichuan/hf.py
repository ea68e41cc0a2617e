"""Baichuan as its makers store it: q, k and v one after the other in `W_pack`; two keys tell the four models apart.

The 13B has no `max_position_embeddings`, for ALiBi needs none, and Baichuan 2 has a `z_loss_weight`. Both models of a
generation name the same classes and modules.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rule, split
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, head_dim_of, write_decoder

from .config import BaichuanConfig

KEYS = tuple(k for k in decoder_keys() if k.ours not in ("num_kv_heads", "head_dim", "max_seq_len"))
LENGTH = {False: "max_position_embeddings", True: "model_max_length"}
Z_LOSS = "z_loss_weight"


def from_config(hf: ForeignConfig) -> BaichuanConfig:
    hf.of_class("BaichuanForCausalLM", "BaiChuanForCausalLM", code=("baichuan",))
    hf.expect(hidden_act="silu")
    hf.ignore("_from_model_config")
    if "rope_theta" in hf or "rope_scaling" in hf:
        raise CheckpointError(hf.file, "rope_theta", "the code released with Baichuan reads no such key")
    has_alibi = LENGTH[False] not in hf
    values = hf.read(BaichuanConfig, (*KEYS, key("max_seq_len", LENGTH[has_alibi], default=4096))) | hf.tokens()
    heads = {"num_kv_heads": values["num_heads"], "head_dim": head_dim_of(hf, values)}
    is_second = Z_LOSS in hf
    hf.ignore(Z_LOSS)
    return BaichuanConfig(**values, **heads, has_alibi=has_alibi, has_normed_head=is_second)


def to_config(c: BaichuanConfig) -> dict[str, Any]:
    what = "a Baichuan config.json"
    must_be(c, what, num_kv_heads=c.num_heads, hidden_size=c.num_heads * c.head_dim, rope=type(c.rope)())
    out = write_decoder(c, "baichuan", "BaichuanForCausalLM", KEYS, hidden_act="silu")
    del out["rope_parameters"]
    return out | {LENGTH[c.has_alibi]: c.max_seq_len} | ({Z_LOSS: 0} if c.has_normed_head else {})


def mapping(c: BaichuanConfig) -> Table:
    d = c.hidden_size
    fused = rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "self_attn.W_pack", split(d, d, d))
    return decoder_table(c, fused, *LAYER)


BAICHUAN = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
