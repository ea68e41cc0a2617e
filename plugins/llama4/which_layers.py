"""Which layers of a Llama 4 rotate, have experts and attend in chunks, as its config.json says it."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import ForeignConfig

CHUNKED = "chunked_attention"
KINDS = ("full_attention", CHUNKED)
MOE_STEP, NOPE_STEP, TUNING = "interleave_moe_layer_step", "no_rope_layer_interval", "attn_temperature_tuning"


def is_tempered(hf: ForeignConfig) -> bool:
    """Whether queries grow with the position. transformers 4.51 wrote a 4 for yes."""
    if hf.raw.get(TUNING, True) is None:
        raise CheckpointError(hf.file, TUNING, "null is neither true nor false")
    told = hf.get(TUNING, True)
    hf.assumed.pop(TUNING, None)
    return True if told == 4 and not isinstance(told, bool) else hf.as_type(bool, told, TUNING)


def nope_layers(hf: ForeignConfig, count: int) -> list[int]:
    """The layers that do not rotate: those with a 0, or in the place of an empty list, every fourth."""
    rotates = hf.as_type(list[int] | None, hf.get("no_rope_layers"), "no_rope_layers")
    interval = hf.as_type(int, hf.get(NOPE_STEP, 4), NOPE_STEP)
    hf.assumed.pop(NOPE_STEP, None)
    if not rotates:
        if interval < 1:
            raise CheckpointError(hf.file, NOPE_STEP, f"{interval} is not a number of layers")
        return [i for i in range(count) if (i + 1) % interval == 0]
    if len(rotates) != count or not {*rotates} <= {0, 1}:
        raise CheckpointError(hf.file, "no_rope_layers", f"it does not have a 0 or a 1 for each of {count} layers")
    return [i for i, does in enumerate(rotates) if not does]


def dense_layers(hf: ForeignConfig, count: int) -> list[int]:
    """The layers without experts: all but those in `moe_layers`, or but every so-many-th."""
    listed = hf.as_type(list[int] | None, hf.get("moe_layers"), "moe_layers")
    step = hf.as_type(int, hf.get(MOE_STEP, 1), MOE_STEP)
    if listed is None:
        if step < 1:
            raise CheckpointError(hf.file, MOE_STEP, f"{step} is not a number of layers")
        return [i for i in range(count) if (i + 1) % step]
    hf.assumed.pop(MOE_STEP, None)
    if beyond := [i for i in listed if not 0 <= i < count]:
        raise CheckpointError(hf.file, "moe_layers", f"{beyond[0]} is not one of the {count} layers")
    return [i for i in range(count) if i not in listed]


def chunks(hf: ForeignConfig, count: int, still: list[int]) -> dict[str, Any]:
    """How long chunks are, and which layers have them: those that rotate, where `layer_types` says nothing."""
    name = "attention_chunk_size"
    if hf.raw.get(name, 0) is None:
        raise CheckpointError(hf.file, name, "null is not a number of tokens", why="transformers does not run it")
    size = hf.as_type(int, hf.get(name, 8192), name)
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    if kinds is None:
        return {"chunk_size": size}
    if len(kinds) != count or not {*kinds} <= {*KINDS}:
        raise CheckpointError(hf.file, "layer_types", f"it does not say {' or '.join(KINDS)} of each of {count} layers")
    return {"chunk_size": size, "chunked_layers": [i for i, kind in enumerate(kinds) if kind == CHUNKED]}
