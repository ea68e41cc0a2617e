"""What a model is and what it costs, without torch: configs, anatomies, and the words for their parts."""

from zoo.anatomy.config import (
    MISSING,
    DecoderConfig,
    ModelConfig,
    RopeConfig,
    at_least,
    even,
    multiple_of,
    one_of,
    typed,
)
from zoo.anatomy.frequencies import attention_factor, frequencies, yarn_mscale
from zoo.anatomy.records import ROLES, Anatomy, AttentionSpec, CrossSpec, StateSpec, Weight
from zoo.anatomy.towers import ACTIVATIONS, TowerConfig, check_sizes, describe_embeddings, describe_layers
from zoo.anatomy.traits import GATED, heads_in_words, mlp_in_words, rope_in_words

__all__ = [
    "ACTIVATIONS", "GATED", "MISSING", "ROLES", "Anatomy", "AttentionSpec", "CrossSpec", "DecoderConfig", "ModelConfig",
    "RopeConfig", "StateSpec", "TowerConfig", "Weight", "at_least", "attention_factor", "check_sizes",
    "describe_embeddings", "describe_layers", "even", "frequencies", "heads_in_words", "mlp_in_words", "multiple_of",
    "one_of", "rope_in_words", "typed", "yarn_mscale",
]  # fmt: skip
