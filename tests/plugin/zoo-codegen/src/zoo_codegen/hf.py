"""CodeGen as transformers stores it: in one matrix, four times over, a part of the queries, the values and the keys."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError, UsageError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    alias,
    key,
    rename,
    rule,
    split_heads,
    under,
    write_keys,
    write_tokens,
)

from .config import BLOCKS, CodeGenConfig

KEYS = (
    key("vocab_size", default=50400),
    key("hidden_size", "n_embd", default=4096),
    key("intermediate_size", "n_inner", default=lambda c: 4 * c["hidden_size"]),
    key("num_layers", "n_layer", default=28),
    key("num_heads", "n_head", default=16),
    key("max_seq_len", "n_positions", default=2048),
    key("norm_eps", "layer_norm_epsilon", default=1e-5),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)


def from_config(hf: ForeignConfig) -> CodeGenConfig:
    hf.require(activation_function="gelu_new")
    hf.ignore("attn_pdrop", "embd_pdrop", "resid_pdrop", "n_ctx")
    values = hf.read(CodeGenConfig, KEYS)
    heads = values["num_heads"]
    width, rest = divmod(values["hidden_size"], heads)
    if rest:
        raise CheckpointError(hf.file, "n_head", f"{heads} heads do not share {values['hidden_size']} channels")
    rope = RopeConfig(partial=hf.as_type(int, hf.get("rotary_dim", 64), "rotary_dim") / width)
    return CodeGenConfig(**values, **hf.tokens(), num_kv_heads=heads, head_dim=width, rope=rope)


def to_config(c: CodeGenConfig) -> dict[str, Any]:
    plain = RopeConfig(partial=c.rope.partial)
    if (c.num_kv_heads, c.num_heads * c.head_dim, c.rope) != (c.num_heads, c.hidden_size, plain):
        raise UsageError("hf has no word for shared heads, heads of another width or another rotary base")
    return {
        "architectures": ["CodeGenForCausalLM"],
        "model_type": "codegen",
        "activation_function": "gelu_new",
        "rotary_dim": c.rotary_dim,
        **write_keys(c, KEYS),
        **write_tokens(c),
    }


def mapping(c: CodeGenConfig) -> Table:
    parts = [c.hidden_size // BLOCKS] * 3
    return Table(
        rename("embed", "transformer.wte"),
        under(
            "layers.{i}",
            "transformer.h.{i}",
            rename("norm", "ln_1"),
            rule(("attn.q_proj", "attn.v_proj", "attn.k_proj"), "attn.qkv_proj", split_heads(BLOCKS, *parts)),
            rename("attn.o_proj", "attn.out_proj"),
            rename("mlp.up_proj", "mlp.fc_in"),
            rename("mlp.down_proj", "mlp.fc_out"),
        ),
        rename("norm", "transformer.ln_f"),
        rename("lm_head.bias", "lm_head.bias"),
        alias("lm_head.weight", of="transformer.wte.weight")
        if c.tie_embeddings
        else rename("lm_head.weight", "lm_head.weight"),
    )


CODEGEN = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
