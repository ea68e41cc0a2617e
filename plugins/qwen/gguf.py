"""Qwen 1.5 to 3 as llama.cpp stores them; rows of q and k keep their order.

The text of a Qwen2-VL reads as a Qwen2: where no picture is, its three positions are one. Its tower is in another file.
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

VISION = "the file holds the text of a Qwen2-VL alone: it is read as a Qwen2, which computes the same without pictures"


def from_config(hf: ForeignConfig) -> Qwen2Config:
    arch = "qwen2vl" if hf.raw.get("general.architecture") == "qwen2vl" else "qwen2"
    if (sections := f"{arch}.rope.dimension_sections") in hf and arch == "qwen2vl":
        hf.used.add(sections)
        hf.told[sections] = VISION
    return Qwen2Config(**read_decoder(hf, arch, Qwen2Config))


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
    return Qwen3Config(**read_decoder(hf, "qwen3", Qwen3Config), attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_qwen3(c: Qwen3Config) -> dict[str, Any]:
    check_plain(c)
    must_be(c, WHERE, attention_bias=False)
    return write_decoder(c, "qwen3")


def qwen3_mapping(c: Qwen3Config) -> Table:
    return decoder_table(c, *(rename(f"attn.{x}_norm", f"attn_{x}_norm") for x in "qk"))


QWEN2 = Dialect(
    from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("qwen2", "qwen2vl")
)
QWEN3 = Dialect(from_config=from_qwen3, to_config=to_qwen3, mapping=qwen3_mapping, matches=by_architecture("qwen3"))
