"""XLM-RoBERTa as Hugging Face stores it; XL and XXL, whose norms come first, under a model_type of their own."""

from __future__ import annotations

from collections.abc import Container

from zoo.weights import Dialect, ForeignConfig, Table, heads_of, key, rename

from ..hf.roberta import head_rules, read_positions, write_positions
from ..hf.shared import KEYS, Fields, attention, encoder, older_names
from .config import XLMRobertaConfig

POST, PRE = "xlm-roberta", "xlm-roberta-xl"
CLASSES = {POST: heads_of("XLMRoberta"), PRE: heads_of("XLMRobertaXL")}
SILENT = {"max_seq_len": 514, "type_vocab_size": 1, "norm_eps": 1e-5}  # what the class of XL takes for absent keys
PRE_KEYS = tuple(key(k.ours, k.theirs, default=SILENT.get(k.ours, k.default)) for k in KEYS)
PRE_LAYER = (
    *attention("attention.self", "query", "key", "value"),
    rename("attn.o_proj", "attention.output.dense"),
    rename("attn_norm", "attention.self_attn_layer_norm"),
    rename("mlp.up_proj", "intermediate.dense"),
    rename("mlp.down_proj", "output.dense"),
    rename("mlp_norm", "LayerNorm"),
)


def from_config(hf: ForeignConfig) -> XLMRobertaConfig:
    is_pre_norm = hf.raw.get("model_type") == PRE
    heads, keys = CLASSES[PRE if is_pre_norm else POST], PRE_KEYS if is_pre_norm else KEYS
    values = read_positions(hf, XLMRobertaConfig, heads, keys, is_named=False)
    return XLMRobertaConfig(**values, is_pre_norm=is_pre_norm)


def to_config(c: XLMRobertaConfig) -> Fields:
    model_type = PRE if c.is_pre_norm else POST
    return write_positions(c, model_type, CLASSES[model_type])


def mapping(c: XLMRobertaConfig, there: Container[str] = ()) -> Table:
    base = "" if c.head == "none" else "roberta"
    if c.is_pre_norm:
        trunk = encoder(base, rename("norm", "encoder.LayerNorm"), has_pooler=c.has_pooler, layer=PRE_LAYER)
    else:
        trunk = encoder(base, has_pooler=c.has_pooler)
    return Table(trunk, head_rules(c, base, there), spelling=older_names("roberta", base))


XLM_ROBERTA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping)
