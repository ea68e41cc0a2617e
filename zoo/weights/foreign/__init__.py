"""Configs in other spellings than ours, each of their keys accounted for."""

from zoo.weights.foreign.config import ForeignConfig, Key, key, must_be, write_keys, write_tokens
from zoo.weights.foreign.rope import write_rope

__all__ = ["ForeignConfig", "Key", "key", "must_be", "write_keys", "write_rope", "write_tokens"]
