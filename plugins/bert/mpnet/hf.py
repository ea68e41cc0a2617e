"""MPNet as Hugging Face stores it."""

from __future__ import annotations

from collections.abc import Container

from zoo.weights import Dialect, ForeignConfig, Table, heads_of, key, read_head, rename, write_keys, write_tokens

from ..hf.roberta import head_rules
from ..hf.shared import (
    KEYS,
    Fields,
    attention,
    encoder,
    older_names,
    pooler_key,
    read_shared,
    write_pooler,
    write_shared,
)
from .config import NUM_BUCKETS, PADDING, MPNetConfig

HEADS = heads_of("MPNet")
SIZES = tuple(k for k in KEYS if k.ours != "type_vocab_size")
LAYER = (
    *attention("attention.attn", "q", "k", "v"),
    rename("attn.o_proj", "attention.attn.o"),
    rename("attn_norm", "attention.LayerNorm"),
    rename("mlp.up_proj", "intermediate.dense"),
    rename("mlp.down_proj", "output.dense"),
    rename("mlp_norm", "output.LayerNorm"),
)


def from_config(hf: ForeignConfig) -> MPNetConfig:
    head = read_head(hf, HEADS, "lm_head.")
    hf.expect(relative_attention_num_buckets=NUM_BUCKETS)  # transformers computes with 32, whatever the key says
    pad = key("pad_token_id", default=PADDING)
    values = hf.tokens() | hf.read(MPNetConfig, (*SIZES, pooler_key(hf, head, "multiple_choice"), pad))
    values["max_seq_len"] -= PADDING + 1  # theirs counts the rows of the table
    return MPNetConfig(**values | read_shared(hf, head))


def to_config(c: MPNetConfig) -> Fields:
    return {
        **write_shared(c, "mpnet", HEADS),
        **write_keys(c, SIZES),
        "max_position_embeddings": c.num_positions,
        "relative_attention_num_buckets": NUM_BUCKETS,
        **write_tokens(c),
        **write_pooler(c),
    }


def mapping(c: MPNetConfig, there: Container[str] = ()) -> Table:
    base = "" if c.head == "none" else "mpnet"
    bias = rename("layers.0.attn.bias", "encoder.relative_attention_bias")
    trunk = encoder(base, bias, has_pooler=c.has_pooler, layer=LAYER)
    return Table(trunk, head_rules(c, base, there), spelling=older_names("mpnet", base))


MPNET = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping)
