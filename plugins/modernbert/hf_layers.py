"""Which layers of a ModernBERT see all tokens, and how either kind rotates; apart from `hf` for its length."""

from __future__ import annotations

from dataclasses import replace

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError, clean
from zoo.weights import ForeignConfig, read_sliding_layers

EVERY = "global_attn_every_n_layers"
ROPES = {  # our field -> its type of layer, the key of transformers 4, and what is taken where a file is silent
    "rope": ("full_attention", "global_rope_theta", 160_000.0),
    "local_rope": ("sliding_attention", "local_rope_theta", 10_000.0),
}


def global_every(hf: ForeignConfig, num_layers: int) -> int:
    """Every how many layers one sees all tokens, from `layer_types` or the number of transformers 4, which agree."""
    said = hf.as_type(int | None, hf.raw.get(EVERY), EVERY)
    local = read_sliding_layers(hf, num_layers, None)
    if local is None:
        return hf.as_type(int, hf.get(EVERY, 3), EVERY)
    hf.ignore(EVERY)
    found = [i for i in range(num_layers) if i not in local]
    every = said or (found[1] if len(found) > 1 else num_layers)
    if found != [*range(0, num_layers, max(every, 1))]:
        what = f"layers {found} see all tokens, expected 0, {every}, {2 * every}, ... of {num_layers}"
        raise CheckpointError(hf.file, "layer_types", what, hint="transformers itself can open it: family=transformers")
    return every


def read_rope(hf: ForeignConfig, kind: str, old: str, theta: float) -> RopeConfig:
    """How layers of a kind rotate. transformers 4 says the base beside `rope_scaling`, which is for both kinds."""
    if old in hf.raw and hf.raw[old] is None:
        raise CheckpointError(hf.file, old, "null is no base", why="programs differ in which one they take for it")
    groups = hf.raw.get("rope_parameters")
    if groups and not (isinstance(groups, dict) and {*groups} <= {where for where, *_ in ROPES.values()}):
        what = f"{clean(repr(groups), 200)} is not a group full_attention and a group sliding_attention"
        raise CheckpointError(hf.file, "rope_parameters", what)
    group = (groups.get(kind) if groups else hf.raw.get("rope_scaling")) or {}
    if isinstance(group, dict) and (inside := group.get("rope_theta")) is not None:
        hf.require(**{old: inside})
    else:
        theta = hf.as_type(float, hf.get(old, theta), old)
    rest = {name: value for name, value in hf.raw.items() if name != "rope_theta"}
    if groups:
        rest["rope_parameters"] = {kind: group}
    rope = replace(hf, raw=rest).rope(theta=theta, layer_type=kind)
    hf.assumed.pop("rope_theta", None)
    hf.assumed.pop("rope_parameters", None)
    return rope
