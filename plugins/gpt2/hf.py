"""GPT-2 as Hugging Face stores it: matrices lie on their side, and q, k and v are one tensor."""

from __future__ import annotations

from typing import Any

from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    alias,
    ignore,
    key,
    rename,
    respell,
    rule,
    split,
    transpose,
    under,
    write_keys,
    write_tokens,
)

from .config import GPT2Config

KEYS = (
    key("vocab_size", default=50257),
    key("hidden_size", "n_embd", also=("hidden_size",), default=768),
    key("intermediate_size", "n_inner", default=lambda c: 4 * c["hidden_size"]),
    key("num_layers", "n_layer", also=("num_hidden_layers",), default=12),
    key("num_heads", "n_head", also=("num_attention_heads",), default=12),
    key("max_seq_len", "n_positions", also=("max_position_embeddings",), default=1024),
    key("norm_eps", "layer_norm_epsilon", default=1e-5),
    key("tie_embeddings", "tie_word_embeddings", default=True),
    key("scale_scores", "scale_attn_weights", default=True, is_told=False),
    key("scale_scores_by_layer", "scale_attn_by_inverse_layer_idx", default=False, is_told=False),
    key("upcast_scores", "reorder_and_upcast_attn", default=False, is_told=False),
)
ACTIVATIONS = {
    "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu", "silu": "silu",
    "swish": "silu",
}  # fmt: skip
# Dropout, the summary of a head for multiple choice, and what transformers wrote before 2020. n_ctx was the size of the
# mask buffers; the context is n_positions.
INERT = (
    "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj", "n_ctx", "n_special", "predict_special_tokens", "output_past", "_num_labels",
)  # fmt: skip


def from_config(hf: ForeignConfig) -> GPT2Config:
    hf.of_class("GPT2LMHeadModel")
    hf.ignore(*INERT)
    activation = hf.one_of("activation_function", ACTIVATIONS, "gelu_new")
    return GPT2Config(**hf.read(GPT2Config, KEYS), **hf.tokens(), activation=activation)


def to_config(c: GPT2Config) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation),
        **write_keys(c, KEYS),
        **write_tokens(c),
    }


def mapping(c: GPT2Config) -> Table:
    d = c.hidden_size
    reason = "the causal mask follows from the positions"
    return Table(
        rename("embed", "transformer.wte"),
        rename("position_embed", "transformer.wpe"),
        under(
            "layers.{i}", "transformer.h.{i}",
            rename("attn_norm", "ln_1"),
            rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn.c_attn", transpose >> split(d, d, d)),
            rule("attn.o_proj", "attn.c_proj", transpose),
            rename("mlp_norm", "ln_2"),
            rule("mlp.up_proj", "mlp.c_fc", transpose),
            rule("mlp.down_proj", "mlp.c_proj", transpose),
            ignore("attn.bias", reason),
            ignore("attn.masked_bias", reason),
        ),
        rename("norm", "transformer.ln_f"),
        alias("lm_head.weight", of="transformer.wte.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
        spelling=respell((r"^(?=(wte|wpe|h|ln_f)\.)", "transformer.")),  # OpenAI's own files, and a bare GPT2Model's
    )  # fmt: skip


GPT2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
