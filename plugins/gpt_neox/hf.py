"""GPT-NeoX as Hugging Face stores it: q, k and v interleaved head by head in one tensor, a head called `embed_out`."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    alias,
    ignore,
    key,
    must_be,
    rename,
    rule,
    split_heads,
    under,
    younger,
)
from zoo.weights.hf_layout import decoder_keys, head_dim_of, ignore_frequencies, write_decoder

from .config import GPTNeoXConfig

KEYS = (
    *(k for k in decoder_keys(norm="layer_norm_eps", norm_eps=1e-5) if k.ours not in ("num_kv_heads", "head_dim")),
    key("is_parallel", "use_parallel_residual", default=True),
    key("attention_bias", default=True),
)
ACTIVATIONS = {
    "gelu": "gelu", "gelu_fast": "gelu_fast", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
    "silu": "silu",
}  # fmt: skip
# Dropout, and what EleutherAI's training kept in the file.
INERT = (
    "attention_dropout",
    "hidden_dropout",
    "classifier_dropout",
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
)


def from_config(hf: ForeignConfig) -> GPTNeoXConfig:
    hf.of_class("GPTNeoXForCausalLM")
    hf.ignore(*INERT)
    hf.get("is_decoder")  # transformers 5 writes false for every one, and computes the same
    activation = hf.one_of("hidden_act", ACTIVATIONS, "gelu")
    values = hf.read(GPTNeoXConfig, KEYS) | hf.tokens()
    heads = {"num_kv_heads": values["num_heads"], "head_dim": head_dim_of(hf, values)}
    return GPTNeoXConfig(**values, **heads, activation=activation, rope=read_rope(hf))


def read_rope(hf: ForeignConfig) -> RopeConfig:
    """Base and share under names of their own, or in the group that transformers 5 writes, which comes first."""
    group = hf.raw.get("rope_parameters") or hf.raw.get("rope_scaling") or {}
    told: dict[str, float] = {}
    for theirs, name, default in (
        ("rope_theta", "rotary_emb_base", 10_000.0),
        ("partial_rotary_factor", "rotary_pct", 0.25),
    ):
        inside = group.get(theirs) if isinstance(group, dict) else None
        if inside is None:
            told[theirs] = hf.as_type(float, hf.get(name, default), name)
        else:
            told[theirs] = hf.as_type(float, inside, theirs)
            hf.require(**{name: inside})
        hf.require(**{theirs: told[theirs]})  # beside the group, where transformers passes over it
    rope = hf.rope(theta=told["rope_theta"], partial=told["partial_rotary_factor"])
    for theirs in told:
        hf.assumed.pop(theirs, None)  # told under the other name
    if hf.raw.keys() & {"rotary_emb_base", "rotary_pct"}:
        hf.assumed.pop("rope_parameters", None)  # which the file says in other words
    younger(hf, use_parallel_residual="4.24")  # Pythia's
    return rope


def to_config(c: GPTNeoXConfig) -> dict[str, Any]:
    must_be(c, "a GPT-NeoX config.json", num_kv_heads=c.num_heads, hidden_size=c.num_heads * c.head_dim)
    activation = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation)
    return write_decoder(c, "gpt_neox", "GPTNeoXForCausalLM", KEYS, partial=0.25, hidden_act=activation)


def mapping(c: GPTNeoXConfig) -> Table:
    mask = "the causal mask follows from the positions"
    heads = [rename("lm_head", "embed_out"), rename("lm_head", "lm_head")]  # as stored, and as transformers 5 calls it
    return Table(
        rename("embed", "gpt_neox.embed_in"),
        under(
            "layers.{i}", "gpt_neox.layers.{i}",
            rename("attn_norm", "input_layernorm"),
            rule(
                ("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attention.query_key_value",
                split_heads(c.num_heads, c.head_dim, c.head_dim, c.head_dim),
            ),
            rename("attn.o_proj", "attention.dense"),
            rename("mlp_norm", "post_attention_layernorm"),
            rename("mlp.up_proj", "mlp.dense_h_to_4h"),
            rename("mlp.down_proj", "mlp.dense_4h_to_h"),
            ignore("attention.bias", mask),
            ignore("attention.masked_bias", mask),
            ignore_frequencies("attention.rotary_emb.inv_freq", c.head_dim, c),
        ),
        rename("norm", "gpt_neox.final_layer_norm"),
        [alias(f"{name}.weight", of="gpt_neox.embed_in.weight") for name in ("embed_out", "lm_head")]
        if c.tie_embeddings
        else heads,
    )  # fmt: skip


GPT_NEOX = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
