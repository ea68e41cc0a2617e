"""The names of the tensors of Qwen3-Next and Qwen3.5; apart from hf.py, which reads and writes config.json."""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoo.weights import Entry, ignore, rename, respell, rule, split, split_heads, under
from zoo.weights.ahead import UNASKED

from .mixer import DeltaConfig

# Of a model with a tower, whose text stands below `language_model`; and of a file of states without a head.
SPELLING = respell((r"^model\.language_model\.", "model."), (r"^(embed_tokens|layers|norm)\.", r"model.\1."))
TOWER_BESIDE = ignore("model.visual", "the tower for pictures: zoo has the text of this family")
MODULE = {"proj": "fc", "embed_norm": "pre_fc_norm_embedding", "hidden_norm": "pre_fc_norm_hidden", "norm": "norm"}
GATED_MLP = (
    rename("mlp.router", "mlp.gate"),
    rename("mlp.shared", "mlp.shared_expert"),
    rename("mlp.shared_gate", "mlp.shared_expert_gate"),
)
ALIKE: tuple[Entry, ...] = (
    rename("mixer.conv", "linear_attn.conv1d"),
    rename("mixer.o_proj", "linear_attn.out_proj"),
    *(rename(f"mixer.{name}", f"linear_attn.{name}") for name in ("A_log", "dt_bias", "norm")),
)


def beside(count: int, layer: Iterable[Entry], tensors: Iterable[str]) -> tuple[Entry, ...]:
    """What files hold besides the model: the tower, and the module, of which `count` layers were asked for."""
    if not count:
        return ignore("mtp", UNASKED), TOWER_BESIDE
    found = {int(match[1]) for name in tensors if (match := re.match(r"mtp\.layers\.(\d+)\.", name))}
    return (
        *under("mtp", "mtp", *(rename(ours, theirs) for ours, theirs in MODULE.items())),
        *under("mtp.layers.{i}", "mtp.layers.{i}", *layer),
        *(ignore(f"mtp.layers.{k}", UNASKED) for k in sorted(found) if k >= count),
        TOWER_BESIDE,
    )


def apart(d: DeltaConfig) -> tuple[Entry, ...]:
    """Qwen3.5's delta net: queries, keys and values one after the other, the gates by themselves."""
    qkv = tuple(f"mixer.{x}_proj" for x in "qkv")
    return (
        rule(qkv, "linear_attn.in_proj_qkv", split(d.keys, d.keys, d.values)),
        rename("mixer.gate_proj", "linear_attn.in_proj_z"),
        rename("mixer.beta_proj", "linear_attn.in_proj_b"),
        rename("mixer.decay_proj", "linear_attn.in_proj_a"),
        *ALIKE,
    )


def per_key_head(d: DeltaConfig) -> tuple[Entry, ...]:
    """Qwen3-Next's: for each key head its query, its key, and the values and gates of the heads that share it."""
    shared = d.num_heads // d.num_key_heads
    sizes = (d.key_dim, d.key_dim, shared * d.value_dim, shared * d.value_dim)
    names = tuple(f"mixer.{x}_proj" for x in ("q", "k", "v", "gate"))
    return (
        rule(names, "linear_attn.in_proj_qkvz", split_heads(d.num_key_heads, *sizes)),
        rule(
            ("mixer.beta_proj", "mixer.decay_proj"), "linear_attn.in_proj_ba",
            split_heads(d.num_key_heads, shared, shared),
        ),
        *ALIKE,
    )  # fmt: skip
