"""What transformers takes for each key that a config.json leaves out, kept in absent.json: no fast test needs it.

python -m tests.reference.absent writes the file anew.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.goldens import all_goldens

FILE = Path(__file__).with_name("absent.json")
GROUPS = ("text_config", "vision_config")
# No part of the model: names, what ends or pads a text, and rotary settings, which are a group with rules of their own.
LEFT = {"architectures", "model_type", "dtype", *GROUPS, "rope_parameters", "rope_scaling", "labels", "id2label"}
LEFT |= {"bos_token_id", "eos_token_id", "pad_token_id"}

Path_ = tuple[str, ...]


@cache
def cases() -> dict[str, dict[str, Any]]:
    """The configs of the goldens that transformers computed, by name."""
    return {g.name: g.config for g in all_goldens() if g.weights is None and g.reference.startswith("transformers")}


def keys(raw: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every key that can be left out: the group it is in, "" for none, and its name."""
    for group in ("", *(g for g in GROUPS if g in raw)):
        yield from ((group, key) for key in (raw[group] if group else raw) if key not in LEFT)


def without(raw: dict[str, Any], group: str, key: str) -> dict[str, Any]:
    """The config without the key."""
    out = copy.deepcopy(raw)
    del (out[group] if group else out)[key]
    return out


def put(raw: dict[str, Any], group: str, key: str, value: Any) -> dict[str, Any]:
    """The config with another value."""
    out = copy.deepcopy(raw)
    (out[group] if group else out)[key] = value
    return out


@cache
def kept() -> dict[str, dict[str, Any]]:
    """What the file holds."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def taken() -> dict[str, dict[str, Any]]:
    """By case and key, the value that the reference's config has then; a key that it does not know is left out."""
    from transformers import CONFIG_MAPPING

    found: dict[str, dict[str, Any]] = {}
    for name, raw in cases().items():
        found[name] = {}
        for group, key in keys(raw):
            try:
                config: Any = CONFIG_MAPPING[raw["model_type"]].from_dict(without(raw, group, key))
            except Exception:  # it refuses, in ways of its own: what it takes cannot be used with the other values
                config = CONFIG_MAPPING[raw["model_type"]]()
            config = getattr(config, group) if group else config
            config.allow_global_per_layer_attribute_access = True  # some have heads of another width in some layers
            if hasattr(config, key):
                value = getattr(config, key)
                found[name][f"{group}.{key}" if group else key] = json.loads(json.dumps(value, default=vars))
    return found


if __name__ == "__main__":
    lines = [f" {json.dumps(name)}: {json.dumps(values)}" for name, values in taken().items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
