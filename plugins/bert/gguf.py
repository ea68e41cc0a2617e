"""BERT as llama.cpp stores it: the encoder alone, without pooler and heads.

RoBERTa goes by the same name, its position table cut so that positions count from 0: it is read as the BERT that it
then is. llama.cpp computes gelu by its tanh form, the released models by the exact one, and so does zoo.
"""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, ignore, key, must_be, rename, rule, split, under, write_keys
from zoo.weights.gguf.layout import WHERE, by_architecture, fixed, norm_eps, read_rest, read_size, write_rest

from .config import BertConfig

KEYS = (
    key("hidden_size", "bert.embedding_length"),
    key("intermediate_size", "bert.feed_forward_length"),
    key("num_layers", "bert.block_count"),
    key("num_heads", "bert.attention.head_count"),
    key("max_seq_len", "bert.context_length"),
    key("norm_eps", "bert.attention.layer_norm_epsilon"),
)
CAUSAL = "bert.attention.causal"
TYPES = "tokenizer.ggml.token_type_count"
ATTENTION = ("attn.q_proj", "attn.k_proj", "attn.v_proj")


def from_config(hf: ForeignConfig) -> BertConfig:
    c = hf.read(BertConfig, (*KEYS, key("vocab_size", "bert.vocab_size", default=read_size(hf))))
    table = hf.tensors.get("token_types.weight")
    found = table.shape[0] if table and table.shape else 1
    types = hf.as_type(int, hf.get(TYPES, found), TYPES)
    hf.assumed.pop(TYPES, None)
    hf.ignore("bert.pooling_type")  # how an engine sums the states up
    known = fixed("bert") | {CAUSAL: False, "bert.attention.head_count_kv": c["num_heads"]}
    rest = read_rest(hf, "bert", **known) | {"norm_eps": norm_eps(c), "tie_embeddings": True}
    if rest["bos_token_id"] == hf.raw.get("tokenizer.ggml.cls_token_id"):
        rest["bos_token_id"] = None  # llama.cpp's word for [CLS]
    return BertConfig(**c | rest, type_vocab_size=types, head="none", has_pooler=False)


def to_config(c: BertConfig) -> dict[str, Any]:
    must_be(c, WHERE, activation="gelu")
    must_be(c, WHERE, head="none", has_pooler=False)
    sizes = {"bert.attention.head_count_kv": c.num_heads, "bert.vocab_size": c.vocab_size, TYPES: c.type_vocab_size}
    return {**write_rest(c, "bert"), **write_keys(c, KEYS), **sizes, CAUSAL: False}


def mapping(c: BertConfig) -> Table:
    must_be(c, WHERE, head="none", has_pooler=False)
    d = c.hidden_size
    return Table(
        rename("embed.tokens", "token_embd"),
        rename("embed.positions", "position_embd"),
        rename("embed.token_types", "token_types"),
        rename("embed.norm", "token_embd_norm"),
        under(
            "layers.{i}", "blk.{i}",
            *(rename(ours, f"attn_{ours[5]}") for ours in ATTENTION),
            rule(ATTENTION, "attn_qkv", split(d, d, d)),
            rename("attn.o_proj", "attn_output"),
            rename("attn_norm", "attn_output_norm"),
            rename("mlp.up_proj", "ffn_up"),
            rename("mlp.down_proj", "ffn_down"),
            rename("mlp_norm", "layer_output_norm"),
        ),
        ignore("cls", "a classifier that model.head does not use"),
    )  # fmt: skip


BERT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("bert"))
