"""A context that overrides stretch, of which nothing says how long it was before. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.errors import ConfigError

RELATIVE = ("yarn", "llama3", "longrope")  # what they do to a channel pair hangs on how often it turned in training


def refuse_unsaid_context(config: ModelConfig, words: Iterable[str]) -> None:
    """Raise ConfigError where overrides change a length that rotary frequencies take for that of training.

    Without original_max_seq_len it is max_seq_len: so it is in config.json, where both are of one hand. Who types a
    longer context beside YaRN means the frequencies of the old one.
    """
    keys = {word.lstrip("+").partition("=")[0] for word in words}
    if "model.max_seq_len" not in keys:
        return
    for field in fields(config):
        rope = getattr(config, field.name)
        if not isinstance(rope, RopeConfig) or rope.scaling not in RELATIVE or rope.original_max_seq_len is not None:
            continue
        path, length = f"model.{field.name}", getattr(config, "max_seq_len", None)
        what = f"{path}.scaling={rope.scaling} computes from the context of training, and model.max_seq_len={length}"
        raise ConfigError(
            f"{what} is said to be the new one", hint=f"say the old one too: {path}.original_max_seq_len=TOKENS"
        )
