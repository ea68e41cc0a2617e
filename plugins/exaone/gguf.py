"""EXAONE 3 as llama.cpp stores it; rows of q and k keep their order."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, write_decoder

from .config import ExaoneConfig


def from_config(hf: ForeignConfig) -> ExaoneConfig:
    return ExaoneConfig(**read_decoder(hf, "exaone", ExaoneConfig))


def to_config(c: ExaoneConfig) -> dict[str, Any]:
    return write_decoder(c, "exaone", has_divisors=True)


def mapping(c: ExaoneConfig) -> Table:
    return decoder_table(c)


EXAONE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("exaone"))
