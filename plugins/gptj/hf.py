"""GPT-J as Hugging Face stores it: GPT-2's names, and the number of channels that rotate."""

from __future__ import annotations

import math
from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    alias,
    ignore,
    key,
    must_be,
    rename,
    under,
    write_keys,
    write_tokens,
)
from zoo.weights.hf_layout import head_dim_of

from .config import GPTJConfig

KEYS = (
    key("vocab_size", default=50400),
    key("hidden_size", "n_embd", also=("hidden_size",), default=4096),
    key("intermediate_size", "n_inner", default=lambda c: 4 * c["hidden_size"]),
    key("num_layers", "n_layer", also=("num_hidden_layers",), default=28),
    key("num_heads", "n_head", also=("num_attention_heads",), default=16),
    key("max_seq_len", "n_positions", also=("max_position_embeddings",), default=2048),
    key("norm_eps", "layer_norm_epsilon", default=1e-5),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)
ACTIVATIONS = {
    "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu", "silu": "silu",
    "swish": "silu",
}  # fmt: skip
# Dropout, and GPT-2's summary of a head for multiple choice, which EleutherAI's file kept.
INERT = (
    "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj",
)  # fmt: skip


def from_config(hf: ForeignConfig) -> GPTJConfig:
    hf.of_class("GPTJForCausalLM")
    hf.ignore(*INERT)
    hf.require(rotary=True, scale_attn_weights=True)  # of the first file, and read by no code
    activation = hf.one_of("activation_function", ACTIVATIONS, "gelu_new")
    values = hf.read(GPTJConfig, KEYS) | hf.tokens()
    heads = {"num_kv_heads": values["num_heads"], "head_dim": head_dim_of(hf, values)}
    rope = RopeConfig(partial=share(rotary_dim(hf, heads["head_dim"]), heads["head_dim"]))
    return GPTJConfig(**values, **heads, activation=activation, rope=rope)


def rotary_dim(hf: ForeignConfig, width: int) -> int:
    """How many of a head's `width` channels rotate. Raises CheckpointError where that is not whole pairs of them."""
    found = hf.as_type(int, hf.get("rotary_dim", 64), "rotary_dim")
    if hf.raw.get("rotary_dim", found) is None:
        raise CheckpointError(hf.file, "rotary_dim", "null is not a number of channels", why="no code agrees on it")
    if found % 2 or not 2 <= found <= width:
        raise CheckpointError(hf.file, "rotary_dim", f"{found} is not whole pairs of the {width} channels of a head")
    return found


def share(rotary: int, width: int) -> float:
    """`rotary` of `width` channels as a share that gives as many again: a quotient may round to just below."""
    part = rotary / width
    return part if int(width * part) == rotary else math.nextafter(part, 1.0)


def to_config(c: GPTJConfig) -> dict[str, Any]:
    rotary = int(c.head_dim * c.rope.partial)
    plain = RopeConfig(partial=share(rotary, c.head_dim))
    must_be(c, "a GPT-J config.json", num_kv_heads=c.num_heads, hidden_size=c.num_heads * c.head_dim, rope=plain)
    return {
        "architectures": ["GPTJForCausalLM"],
        "model_type": "gptj",
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation),
        "rotary_dim": rotary,
        **write_keys(c, KEYS),
        **write_tokens(c),
    }


def mapping(c: GPTJConfig) -> Table:
    reason = "the causal mask follows from the positions"
    return Table(
        rename("embed", "transformer.wte"),
        under(
            "layers.{i}", "transformer.h.{i}",
            rename("norm", "ln_1"),
            rename("attn.o_proj", "attn.out_proj"),
            rename("attn", "attn"),
            rename("mlp.up_proj", "mlp.fc_in"),
            rename("mlp.down_proj", "mlp.fc_out"),
            ignore("attn.bias", reason),
            ignore("attn.masked_bias", reason),
        ),
        rename("norm", "transformer.ln_f"),
        rename("lm_head.bias", "lm_head.bias"),
        alias("lm_head.weight", of="transformer.wte.weight")
        if c.tie_embeddings
        else rename("lm_head.weight", "lm_head.weight"),
    )  # fmt: skip


GPTJ = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
