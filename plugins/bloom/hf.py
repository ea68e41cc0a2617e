"""BLOOM as Hugging Face stores it: q, k and v interleaved head by head in one tensor, names with and without prefix."""

from __future__ import annotations

from typing import Any

from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    alias,
    key,
    rename,
    respell,
    rule,
    split_heads,
    under,
    write_keys,
    write_tokens,
)

from .config import BloomConfig

KEYS = (
    key("vocab_size"),
    key("hidden_size", also=("n_embed",), default=64),
    key("num_layers", "n_layer", also=("num_hidden_layers",)),
    key("num_heads", "n_head", also=("num_attention_heads",)),
    key("max_seq_len", "seq_length", default=2048, is_told=False),  # transformers 5 does not write it, nor need it
    key("norm_eps", "layer_norm_epsilon", default=1e-5),
    key("norm_residual", "apply_residual_connection_post_layernorm", default=False),
    key("tie_embeddings", "tie_word_embeddings", default=True),
)
# Of training and of its kernels: how the reference computes, not what.
INERT = (
    "attention_dropout", "hidden_dropout", "attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion",
    "offset_alibi", "pretraining_tp", "skip_bias_add", "skip_bias_add_qkv", "slow_but_exact",
)  # fmt: skip


def from_config(hf: ForeignConfig) -> BloomConfig:
    hf.of_class("BloomForCausalLM")
    hf.ignore(*INERT)
    if hf.raw.get("slow_but_exact") and hf.raw.get("pretraining_tp") not in (None, 1):
        hf.told["slow_but_exact"] = "slow_but_exact: zoo adds the biases that transformers leaves out for it"
    return BloomConfig(**hf.read(BloomConfig, KEYS), **hf.tokens())


def to_config(c: BloomConfig) -> dict[str, Any]:
    return {
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        **write_keys(c, KEYS),
        **write_tokens(c),
    }


def mapping(c: BloomConfig) -> Table:
    interleaved = split_heads(c.num_heads, c.head_dim, c.head_dim, c.head_dim)
    return Table(
        rename("embed", "transformer.word_embeddings"),
        rename("embed_norm", "transformer.word_embeddings_layernorm"),
        under(
            "layers.{i}", "transformer.h.{i}",
            rename("attn_norm", "input_layernorm"),
            rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "self_attention.query_key_value", interleaved),
            rename("attn.o_proj", "self_attention.dense"),
            rename("mlp_norm", "post_attention_layernorm"),
            rename("mlp.up_proj", "mlp.dense_h_to_4h"),
            rename("mlp.down_proj", "mlp.dense_4h_to_h"),
        ),
        rename("norm", "transformer.ln_f"),
        alias("lm_head.weight", of="transformer.word_embeddings.weight")
        if c.tie_embeddings
        else rename("lm_head", "lm_head"),
        spelling=respell((r"^(?=(word_embeddings|word_embeddings_layernorm|h|ln_f)\.)", "transformer.")),
    )  # fmt: skip


BLOOM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
