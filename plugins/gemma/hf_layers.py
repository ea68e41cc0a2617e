"""Which layers of a Gemma are local, and how either kind rotates; apart from `hf` for its length."""

from __future__ import annotations

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import ForeignConfig

USUAL = {2: 1, 3: 5}  # local layers before each global one, by generation, where a file does not say


def local_per_global(hf: ForeignConfig, num_layers: int, default: int) -> int:
    """How many local layers stand before each global one, from `layer_types` or `sliding_window_pattern`."""
    if default == 1:
        hf.require(sliding_window_pattern=2, _sliding_window_pattern=2)  # for Gemma 2 transformers does not read it
    name = "sliding_window_pattern"
    pattern = hf.as_type(int, hf.get(name, default + 1, also=(f"_{name}",)), name)
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    if kinds is not None or default == 1:
        hf.assumed.pop(name, None)  # told by the layers, or the same in every Gemma 2
    if kinds is None:
        return pattern - 1
    full = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
    local = full[0] if full else max(num_layers, pattern - 1)  # with none that sees all, only the period may say more
    expected = ["full_attention" if (i + 1) % (local + 1) == 0 else "sliding_attention" for i in range(num_layers)]
    if kinds != expected:
        raise CheckpointError(hf.file, "layer_types", "local and global layers do not alternate evenly")
    return local


def global_rope(hf: ForeignConfig) -> RopeConfig:
    """Gemma 3's, which the new spelling has under the layers' type."""
    return hf.rope(theta=1_000_000.0, layer_type="full_attention")


def local_rope(hf: ForeignConfig, generation: int, rope: RopeConfig) -> RopeConfig:
    """Gemma 3's local layers have a base of their own, never stretched; Gemma 2's rotate like the global ones."""
    if generation != 3:
        return rope
    if "sliding_attention" in (hf.raw.get("rope_parameters") or {}):
        return hf.rope(layer_type="sliding_attention")
    theta = hf.get("rope_local_base_freq", 10_000.0)
    return hf.as_type(RopeConfig, {"theta": theta}, "rope_local_base_freq")
