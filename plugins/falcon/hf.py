"""Falcon as Hugging Face stores it: q, k and v in one tensor, each key/value head behind the queries that share it."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import Dialect, ForeignConfig, Table, alias, key, must_be, rename, rule, split_heads, under, younger
from zoo.weights.hf_layout import decoder_keys, head_dim_of, write_decoder

from .config import FalconConfig

LEFT = ("intermediate_size", "num_kv_heads", "head_dim", "norm_eps", "num_heads", "num_layers")
KEYS = (
    *(k for k in decoder_keys(tie_embeddings=True) if k.ours not in LEFT),
    key("num_layers", "num_hidden_layers", also=("n_layer",)),
    key("num_heads", "num_attention_heads", also=("n_head",)),
    key("intermediate_size", "ffn_hidden_size", default=lambda c: 4 * c["hidden_size"]),
    key("norm_eps", "layer_norm_epsilon", default=1e-5),
    key("has_bias", "bias", default=False),
    key("is_parallel", "parallel_attn", default=True),
    key("has_alibi", "alibi", default=False),
)
CLASSES = ("FalconForCausalLM", "RWForCausalLM")  # the second is of early 2023


def from_config(hf: ForeignConfig) -> FalconConfig:
    hf.of_class(*CLASSES, code=("falcon", "RW"))
    hf.expect(activation="gelu")
    hf.require(apply_residual_connection_post_layernorm=False)
    hf.ignore("attention_dropout", "hidden_dropout")
    values = hf.read(FalconConfig, KEYS) | hf.tokens()
    values["head_dim"] = head_dim_of(hf, values)
    rope = hf.rope()
    younger(hf, rope_theta="4.33", rope_parameters="4.33", max_position_embeddings="4.33", activation="4.38")
    return FalconConfig(**values, **read_heads(hf, values["num_heads"], values["is_parallel"]), rope=rope)


def read_heads(hf: ForeignConfig, num_heads: int, is_parallel: bool) -> dict[str, Any]:
    """Key/value heads and norms, which depend on which of the two architectures it is."""
    is_new = hf.as_type(bool, hf.get("new_decoder_architecture", False), "new_decoder_architecture")
    shares = hf.as_type(bool, hf.get("multi_query", True), "multi_query")
    name = "num_ln_in_parallel_attn"
    norms = hf.as_type(int | None, hf.get(name), name)
    hf.assumed.pop(name, None)
    if not is_new:
        if norms not in (None, 1):
            raise CheckpointError(hf.file, name, f"{norms} is not supported without new_decoder_architecture")
        return {"num_kv_heads": 1 if shares else num_heads, **_of_no_effect(hf, shares, num_heads)}
    if not is_parallel:
        raise CheckpointError(hf.file, "parallel_attn", "false is not supported with new_decoder_architecture")
    heads = hf.get("num_kv_heads", num_heads, also=("n_head_kv",))
    return {"num_kv_heads": hf.as_type(int, heads, "num_kv_heads"), "has_mlp_norm": norms != 1}


def _of_no_effect(hf: ForeignConfig, shares: bool, num_heads: int) -> dict[str, Any]:
    """The older architecture passes over the number of key/value heads where they are shared."""
    hf.require(**({} if shares else {"num_kv_heads": num_heads}))
    hf.ignore(*(["num_kv_heads"] if shares else []), "n_head_kv")
    return {}


def to_config(c: FalconConfig) -> dict[str, Any]:
    must_be(c, "a Falcon config.json", hidden_size=c.num_heads * c.head_dim)
    is_new = c.has_mlp_norm or c.num_kv_heads not in (1, c.num_heads)
    must_be(c, "a Falcon config.json with grouped heads or two norms", **({"is_parallel": True} if is_new else {}))
    return write_decoder(
        c, "falcon", CLASSES[0], KEYS, activation="gelu", new_decoder_architecture=is_new, num_kv_heads=c.num_kv_heads,
        multi_query=not is_new and c.num_kv_heads == 1,
        num_ln_in_parallel_attn=1 + c.has_mlp_norm if is_new else None,
    )  # fmt: skip


def mapping(c: FalconConfig) -> Table:
    norms = {"parallel": ("input_layernorm",), "twin": ("ln_attn", "ln_mlp")}
    first, *second = norms.get(c.layout, ("input_layernorm", "post_attention_layernorm"))
    return Table(
        rename("embed", "transformer.word_embeddings"),
        under(
            "layers.{i}", "transformer.h.{i}",
            rename("norm" if c.layout == "parallel" else "attn_norm", first),
            *(rename("mlp_norm", name) for name in second),
            rule(
                ("attn.q_proj", "attn.k_proj", "attn.v_proj"), "self_attention.query_key_value",
                split_heads(c.num_kv_heads, c.num_heads // c.num_kv_heads * c.head_dim, c.head_dim, c.head_dim),
            ),
            rename("attn.o_proj", "self_attention.dense"),
            rename("mlp.up_proj", "mlp.dense_h_to_4h"),
            rename("mlp.down_proj", "mlp.dense_4h_to_h"),
        ),
        rename("norm", "transformer.ln_f"),
        alias("lm_head.weight", of="transformer.word_embeddings.weight")
        if c.tie_embeddings
        else rename("lm_head", "lm_head"),
    )  # fmt: skip


FALCON = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
