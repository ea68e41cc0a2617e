"""Which layers of a decoder see a window of tokens only, as `layer_types` says it. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.errors import CheckpointError

if TYPE_CHECKING:
    from zoo.weights.foreign.config import ForeignConfig

KINDS = ("full_attention", "sliding_attention")


def read_sliding_layers(hf: ForeignConfig, num_layers: int, default: Sequence[int] | None) -> list[int] | None:
    """The numbers of the layers that `layer_types` calls sliding; `default` where there is no such key."""
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    if kinds is None:
        return None if default is None else list(default)
    if len(kinds) != num_layers:
        raise CheckpointError(hf.file, "layer_types", f"it has {len(kinds)} entries for {num_layers} layers")
    if unknown := sorted(set(kinds) - {*KINDS}):
        raise CheckpointError(hf.file, "layer_types", f"{unknown[0]!r} is not known")
    return [i for i, kind in enumerate(kinds) if kind == "sliding_attention"]


def write_layer_types(num_layers: int, sliding: Sequence[int]) -> list[str]:
    """The value of `layer_types`."""
    return [KINDS[i in sliding] for i in range(num_layers)]
