"""MiniCPM 3 as Hugging Face stores it: DeepSeek's names for the attention, LLaMA's for the rest."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, write_decoder

from .config import MiniCPM3Config

SIZES = {"max_seq_len": 32_768, "norm_eps": 1e-5, "tie_embeddings": True}
KEYS = (
    *(k for k in decoder_keys(**SIZES) if k.ours not in ("head_dim", "num_kv_heads")),
    key("embedding_multiplier", "scale_emb", default=12.0),
    key("scale_depth", default=1.4),
    key("base_size", "dim_model_base", default=256),
    key("q_lora_rank", default=768),
    key("kv_lora_rank", default=256),
    key("nope_head_dim", "qk_nope_head_dim", default=64),
    key("rope_head_dim", "qk_rope_head_dim", default=32),
    key("v_head_dim", default=lambda c: c["hidden_size"] // c["num_heads"]),
    key("attention_bias", default=False),
)
ATTENTION = {
    "q_proj": "q_proj", "q_down": "q_a_proj", "q_norm": "q_a_layernorm", "q_up": "q_b_proj",
    "kv_down": "kv_a_proj_with_mqa", "kv_norm": "kv_a_layernorm", "kv_up": "kv_b_proj", "o_proj": "o_proj",
}  # fmt: skip


def from_config(hf: ForeignConfig) -> MiniCPM3Config:
    hf.of_class("MiniCPM3ForCausalLM", code=("minicpm",))
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout", "pretraining_tp")
    values = hf.read(MiniCPM3Config, KEYS) | hf.tokens()
    hf.require(mlp_bias=False, num_key_value_heads=values["num_heads"], head_dim=values["rope_head_dim"])
    hf.require(qk_head_dim=values["nope_head_dim"] + values["rope_head_dim"])  # transformers 5 writes it
    heads = {"num_kv_heads": values["num_heads"], "head_dim": values["rope_head_dim"]}
    return MiniCPM3Config(**values, **heads, rope=hf.rope())


def to_config(c: MiniCPM3Config) -> dict[str, Any]:
    must_be(c, "a MiniCPM 3 config.json", num_kv_heads=c.num_heads, head_dim=c.rope_head_dim)
    out = write_decoder(c, "minicpm3", "MiniCPM3ForCausalLM", KEYS, hidden_act="silu")
    return out | {"num_key_value_heads": c.num_heads}


def mapping(c: MiniCPM3Config) -> Table:
    attention = (rename(f"attn.{ours}", f"self_attn.{theirs}") for ours, theirs in ATTENTION.items())
    return decoder_table(c, *attention, *(entry for entry in LAYER if entry.ours != ("attn",)))


MINICPM3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
