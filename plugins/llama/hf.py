"""LLaMA as Hugging Face stores it, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from typing import Any

from zoo.weights import ForeignConfig, Table, alias, ignore, key, rename, under, write_keys, write_rope, write_tokens

from .config import LlamaConfig

KEYS = (
    key("vocab_size"),
    key("hidden_size"),
    key("intermediate_size"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads", "num_attention_heads"),
    key("num_kv_heads", "num_key_value_heads", default=lambda c: c["num_heads"]),
    key("head_dim", default=lambda c: c["hidden_size"] // c["num_heads"]),
    key("max_seq_len", "max_position_embeddings", default=2048),
    key("norm_eps", "rms_norm_eps", default=1e-6),
    key("attention_bias", default=False),
    key("mlp_bias", default=False),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)


def from_config(hf: ForeignConfig) -> LlamaConfig:
    hf.require(hidden_act="silu")
    hf.ignore("attention_dropout", "pretraining_tp", "rope_interleaved", "max_sequence_length", "is_llama_config")
    return LlamaConfig(**hf.read(LlamaConfig, KEYS), **hf.tokens(), rope=hf.rope())


def to_config(c: LlamaConfig) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        **write_keys(c, KEYS),
        **write_tokens(c),
        "rope_parameters": write_rope(c.rope),
    }


def mapping(c: LlamaConfig) -> Table:
    return Table(
        rename("embed", "model.embed_tokens"),
        under(
            "layers.{i}", "model.layers.{i}",
            rename("attn_norm", "input_layernorm"),
            rename("attn", "self_attn"),
            rename("mlp_norm", "post_attention_layernorm"),
            rename("mlp", "mlp"),
            ignore("self_attn.rotary_emb.inv_freq", "rotary frequencies follow from model.rope"),
        ),
        rename("norm", "model.norm"),
        alias("lm_head.weight", of="model.embed_tokens.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
    )  # fmt: skip
