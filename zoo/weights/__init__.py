"""Moving weights between zoo and other formats. Importing this needs no torch: ops reach for it when they run."""

from zoo.files.tensor_info import TensorInfo
from zoo.weights.dialect import Dialect, Files, Match
from zoo.weights.entries import (
    Alias,
    Entry,
    Ignore,
    Rule,
    Spelling,
    alias,
    filler,
    ignore,
    rename,
    respell,
    rule,
    under,
)
from zoo.weights.foreign.age import younger
from zoo.weights.foreign.config import ForeignConfig, Key, key, must_be, write_keys, write_tokens
from zoo.weights.foreign.group import accept_copies, group, refined_group, tokens_of
from zoo.weights.foreign.inert import listed
from zoo.weights.foreign.layers import read_sliding_layers, write_layer_types
from zoo.weights.foreign.rope import write_rope
from zoo.weights.hf_labels import (
    ACTIVATIONS,
    SPELT,
    heads_of,
    read_head,
    read_head_and_labels,
    read_labels,
    write_head_and_labels,
    write_labels,
)
from zoo.weights.ops import Op, interleaved, reshape, rope_halves, same, split, split_heads, stack, transpose
from zoo.weights.table import Step, Table

__all__ = [
    "ACTIVATIONS", "SPELT", "Alias", "Dialect", "Entry", "Files", "ForeignConfig", "Ignore", "Key", "Match", "Op",
    "Rule", "Spelling", "Step", "Table", "TensorInfo", "accept_copies", "alias", "filler", "group", "heads_of",
    "ignore", "interleaved", "key", "listed", "must_be", "read_head", "read_head_and_labels", "read_labels",
    "read_sliding_layers", "refined_group", "rename", "reshape", "respell", "rope_halves", "rule", "same", "split",
    "split_heads", "stack", "tokens_of", "transpose", "under", "write_head_and_labels", "write_keys", "write_labels",
    "write_layer_types", "write_rope", "write_tokens", "younger",
]  # fmt: skip
