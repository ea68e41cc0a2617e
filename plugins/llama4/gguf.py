"""Llama 4's text as llama.cpp stores it, which knows chunks, temperature and layers without positions by heart.

Rows of q and k keep their order, for its rotary channels pair as these do. Whether q and k are normed it takes from the
number of experts: not where there are 128.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy import all_but_every
from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, ForeignConfig, Key, Table, must_be
from zoo.weights.gguf.experts import EXPERTS, SIGMOID, expert_keys, width_key
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder

from .config import Llama4Config

ARCH, CHUNK, UNNORMED = "llama4", 8192, 128
STEP = "interleave_moe_layer_step"
KEYS: tuple[Key, ...] = (*expert_keys(ARCH), width_key(ARCH))
FIXED: dict[str, Any] = {
    "chunk_size": CHUNK, "temperature_scale": 0.1, "temperature_length": CHUNK, "attention_bias": False,
}  # fmt: skip
KNOWN: dict[str, Any] = {  # where a file says them
    "attention.chunk_size": CHUNK, "attention.sliding_window": CHUNK, "attention.sliding_window_pattern": 4,
    "attention.temperature_length": CHUNK, "expert_gating_func": SIGMOID,
}  # fmt: skip


def still(num_layers: int) -> list[int]:
    """The layers that llama.cpp does not rotate."""
    return [i for i in range(num_layers) if i not in all_but_every(4, num_layers)]


def from_config(hf: ForeignConfig) -> Llama4Config:
    values = read_decoder(hf, ARCH, Llama4Config, *KEYS, **KNOWN)
    step, count = hf.as_type(int, hf[f"{ARCH}.{STEP}"], STEP), values["num_layers"]
    if not 1 <= step <= count:
        raise CheckpointError(hf.file, f"{ARCH}.{STEP}", f"{step} is not from 1 to the {count} layers")
    return Llama4Config(
        **values, **FIXED, has_qk_norm=values["num_experts"] != UNNORMED, nope_layers=still(count),
        dense_layers=[i for i in range(count) if (i + 1) % step],
    )  # fmt: skip


def to_config(c: Llama4Config) -> dict[str, Any]:
    normed = c.num_experts != UNNORMED
    must_be(c, WHERE, **FIXED, has_qk_norm=normed, nope_layers=still(c.num_layers), chunked_layers=None)
    only: dict[str, Any] = {STEP: step_of(c)}
    return write_decoder(c, ARCH, *KEYS, has_divisors=True, **only)


def step_of(c: Llama4Config) -> int:
    """Of how many layers one has experts. Raises UsageError where they do not stand so."""
    for step in range(1, c.num_layers + 1):
        if c.dense_layers == [i for i in range(c.num_layers) if (i + 1) % step]:
            return step
    why = "llama.cpp wants experts in every so-many-th layer"
    raise UsageError(f"{WHERE} cannot store model.dense_layers={c.dense_layers}", why=why)


def mapping(c: Llama4Config) -> Table:
    return decoder_table(c, *EXPERTS)


LLAMA4 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
