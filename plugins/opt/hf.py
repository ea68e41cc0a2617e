"""OPT as Hugging Face stores it: fairseq's names, with and without `model.`."""

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
    under,
    write_keys,
    write_tokens,
)

from .config import OPTConfig

KEYS = (
    key("vocab_size"),
    key("hidden_size"),
    key("embed_size", "word_embed_proj_dim", default=lambda c: c["hidden_size"]),
    key("intermediate_size", "ffn_dim"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads", "num_attention_heads"),
    key("max_seq_len", "max_position_embeddings", default=2048),
    key("is_pre_norm", "do_layer_norm_before", default=True),
    key("has_bias", "enable_bias", default=True, is_told=False),
    key("tie_embeddings", "tie_word_embeddings", default=True),
)
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "silu": "silu"}
INERT = ("activation_dropout", "attention_dropout", "dropout", "layerdrop", "init_std", "learned_embeddings")


def from_config(hf: ForeignConfig) -> OPTConfig:
    hf.of_class("OPTForCausalLM")
    hf.ignore(*INERT)
    hf.get("prefix")  # </s>, which its tokenizer puts before every text anyway
    hf.require(_remove_final_layer_norm=False, layer_norm_elementwise_affine=True, scale_embeddings=False)
    activation = hf.one_of("activation_function", ACTIVATIONS, "relu")
    return OPTConfig(**hf.read(OPTConfig, KEYS), **hf.tokens(), activation=activation)


def to_config(c: OPTConfig) -> dict[str, Any]:
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation),
        **write_keys(c, KEYS),
        **write_tokens(c),
    }


def mapping(c: OPTConfig) -> Table:
    embedding = "model.decoder.embed_tokens"
    return Table(
        rename("embed", embedding),
        rename("position_embed", "model.decoder.embed_positions"),
        rename("in_proj", "model.decoder.project_in"),
        rename("out_proj", "model.decoder.project_out"),
        under(
            "layers.{i}", "model.decoder.layers.{i}",
            rename("attn_norm", "self_attn_layer_norm"),
            rename("attn.o_proj", "self_attn.out_proj"),
            rename("attn", "self_attn"),
            rename("mlp_norm", "final_layer_norm"),
            rename("mlp.up_proj", "fc1"),
            rename("mlp.down_proj", "fc2"),
        ),
        rename("norm", "model.decoder.final_layer_norm"),
        alias("lm_head.weight", of=f"{embedding}.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
        spelling=respell((r"^(?=decoder\.)", "model.")),  # a bare OPTModel's, and Meta's own files
    )  # fmt: skip


OPT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
