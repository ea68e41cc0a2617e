"""What a model is and what it costs, without torch: configs, anatomies, traits, frequencies, sizes."""

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
from zoo.anatomy.records import ROLES, Anatomy, AttentionSpec, CrossSpec, StateSpec, Weight

__all__ = [
    "MISSING", "ROLES", "Anatomy", "AttentionSpec", "CrossSpec", "DecoderConfig", "ModelConfig", "RopeConfig",
    "StateSpec", "Weight", "at_least", "even", "multiple_of", "one_of", "typed",
]  # fmt: skip
