"""What a model is and what it costs, without torch: configs, anatomies, and the words for their parts.

What only some families are made of is imported when it is asked for (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.anatomy.ahead import described_mtp, unpassed
from zoo.anatomy.builder import Anatomy
from zoo.anatomy.config import MISSING, DecoderConfig, ModelConfig, RopeConfig, typed
from zoo.anatomy.cuts import EQUAL_HEADS, FEED_FORWARD, GROUPED_HEADS, STACKED_EXPERTS, TRUNK, Cut
from zoo.anatomy.frequencies import attention_factor, frequencies, yarn_mscale
from zoo.anatomy.limits import at_least, check_labels, even, expert_groups, multiple_of, one_of, rotary_pairs
from zoo.anatomy.records import ROLES, AttentionSpec, CrossSpec, Shape, StateSpec, Weight
from zoo.anatomy.slices import Nested
from zoo.anatomy.traits import GATED, heads_in_words, mlp_in_words, rope_in_words
from zoo.anatomy.trunk import describe_trunk

__all__ = [
    "ACTIVATIONS", "CLASSIFIERS", "ENCODER_HEADS", "EQUAL_HEADS", "FEED_FORWARD", "GATED", "GROUPED_HEADS", "MISSING",
    "OF_TOKENS", "ROLES", "STACKED_EXPERTS", "TRUNK", "Anatomy", "AttentionSpec", "CrossSpec", "Cut", "DecoderConfig",
    "ModelConfig", "Nested", "PartlyWindowedConfig", "RopeConfig", "Shape", "StateSpec", "TextConfig",
    "TextEncoderConfig", "TowerConfig", "Weight", "WindowedConfig", "all_but_every", "at_least", "attention_factor",
    "check_labels", "check_sizes", "describe_embeddings", "describe_layers", "describe_once", "describe_trunk",
    "described_mtp", "even",
    "expert_groups", "frequencies", "heads_in_words", "layers_in_order", "mlp_in_words", "multiple_of", "one_of",
    "rope_in_words", "rotary_pairs", "typed", "unpassed", "yarn_mscale",
]  # fmt: skip

_LAZY = {  # module -> what it defines of the names above; none is called as a module is, which would stand before it
    "encoders": ("CLASSIFIERS", "ENCODER_HEADS", "OF_TOKENS", "TextEncoderConfig", "describe_once"),
    "towers": ("ACTIVATIONS", "TextConfig", "TowerConfig", "check_sizes", "describe_embeddings", "describe_layers"),
    "windows": ("PartlyWindowedConfig", "WindowedConfig", "all_but_every", "layers_in_order"),
}

if TYPE_CHECKING:
    from zoo.anatomy.encoders import CLASSIFIERS, ENCODER_HEADS, OF_TOKENS, TextEncoderConfig, describe_once
    from zoo.anatomy.towers import (
        ACTIVATIONS,
        TextConfig,
        TowerConfig,
        check_sizes,
        describe_embeddings,
        describe_layers,
    )
    from zoo.anatomy.windows import PartlyWindowedConfig, WindowedConfig, all_but_every, layers_in_order


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _LAZY.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module 'zoo.anatomy' has no attribute {name!r}")
    value = getattr(import_module(f"zoo.anatomy.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
