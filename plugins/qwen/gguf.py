"""Qwen 1.5 to 3 as llama.cpp stores them; rows of q and k keep their order.

The text of a Qwen2-VL reads as a Qwen2, that of a Qwen3-VL as a Qwen3: where no picture is, their three positions are
one. Their towers are in other files.
"""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, must_be, rename
from zoo.weights.gguf.layout import (
    WHERE,
    by_architecture,
    decoder_table,
    read_decoder,
    refuse_wide,
    refuse_window,
    write_decoder,
)

from .config import DualChunkConfig, Qwen2Config, Qwen3Config

SEEING = ("qwen2vl", "qwen3vl", "qwen3vlmoe")
VISION = "the file holds the text of a Qwen-VL alone: it is read as a Qwen, which computes the same without pictures"


def from_config(hf: ForeignConfig) -> Qwen2Config:
    return Qwen2Config(**read_decoder(hf, text_of(hf, "qwen2"), Qwen2Config))


def text_of(hf: ForeignConfig, plain: str) -> str:
    """The file's architecture, `plain` or the text of a model that sees, and what is passed over of the second."""
    arch = str(hf.raw.get("general.architecture"))
    if arch not in SEEING:
        return plain
    for name in (f"{arch}.rope.dimension_sections", f"{arch}.n_deepstack_layers"):
        if name in hf:
            hf.used.add(name)
            hf.told[name] = VISION
    return arch


def to_config(c: Qwen2Config) -> dict[str, Any]:
    check_plain(c)
    refuse_wide(c, "qwen2")
    return write_decoder(c, "qwen2")


def check_plain(c: Qwen2Config) -> None:
    """Refuse what llama.cpp does not compute: windows, and attention in chunks."""
    must_be(c, WHERE, dual_chunk=DualChunkConfig())
    refuse_window(c, "Qwen")


def mapping(c: Qwen2Config) -> Table:
    return decoder_table(c)


def from_qwen3(hf: ForeignConfig) -> Qwen3Config:
    values = read_decoder(hf, text_of(hf, "qwen3"), Qwen3Config)
    return Qwen3Config(**values, attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_qwen3(c: Qwen3Config) -> dict[str, Any]:
    check_plain(c)
    must_be(c, WHERE, attention_bias=False)
    return write_decoder(c, "qwen3")


def qwen3_mapping(c: Qwen3Config) -> Table:
    return decoder_table(c, *(rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk"))


QWEN2 = Dialect(
    from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("qwen2", "qwen2vl")
)
QWEN3 = Dialect(
    from_config=from_qwen3, to_config=to_qwen3, mapping=qwen3_mapping, matches=by_architecture("qwen3", "qwen3vl")
)
