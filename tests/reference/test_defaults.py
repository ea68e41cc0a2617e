"""Keys that a config.json leaves out mean what the class of transformers takes for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.interpretation import our_shapes
from zoo.errors import ZooError
from zoo.registry import installed
from zoo.weights import ForeignConfig

pytestmark = pytest.mark.slow

NOTES = {"architectures", "model_type", "dtype", "text_config", "vision_config"}
TOKENS = {"bos_token_id", "eos_token_id", "pad_token_id"}  # zoo ends no text at a token that nobody named
PLAIN = {"attn_softcap": None, "final_softcap": None, "sliding_window": None, "local_per_global": 0}


def configs() -> Iterator[tuple[str, ModelConfig]]:
    """A small config of each model_type that transformers knows."""
    tiny = {name: family.config_class.tiny() for name, family in installed().families.items()}
    for name in "bert roberta distilbert bloom clip deepseek gemma gemma3_vl glm glm4_moe gpt2 llama mistral".split():
        yield name, tiny[name]
    for name in "mixtral qwen2 qwen2_moe qwen3 qwen3_moe qwen2_vl qwen2_5_vl t5 transformer vit".split():
        yield name, tiny[name]
    yield "mistral", replace(tiny["mistral"], sliding_layers=[0])
    yield "deepseek", replace(tiny["deepseek"], scoring="softmax", is_renormalised=False)
    yield "glm", replace(tiny["glm"], is_sandwiched=False)
    gemma: Any = tiny["gemma"]
    yield "gemma", replace(gemma, generation=2, local_rope=gemma.rope)
    plain = replace(gemma, **PLAIN, generation=1, local_rope=gemma.rope, query_pre_attn_scalar=float(gemma.head_dim))
    yield "gemma", plain


@pytest.mark.parametrize(("name", "config"), list(configs()), ids=lambda value: value if isinstance(value, str) else "")
def test_absent_keys_mean_the_defaults_of_transformers(name: str, config: ModelConfig) -> None:
    """Where they are not refused, and where the shapes of the weights would not tell the one from the other."""
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    family = installed()[name]
    raw = json.loads(json.dumps(family.dialect("hf").to_config(config)))
    defaults = transformers.CONFIG_MAPPING[raw["model_type"]]()
    for path in [(), *((part,) for part in ("text_config", "vision_config") if part in raw)]:
        group, theirs = (raw[path[0]], getattr(defaults, path[0])) if path else (raw, defaults)
        for key in sorted(group.keys() - NOTES - TOKENS):
            if hasattr(theirs, key):
                default = json.loads(json.dumps(getattr(theirs, key), default=vars))
                absent, present = _read(family, _without(raw, path, key)), _read(family, _with(raw, path, key, default))
                if absent is None or present is None or our_shapes(family, absent) != our_shapes(family, present):
                    continue
                assert absent == present, (path, key)


def _read(family: Any, raw: dict[str, Any]) -> Any:
    try:
        return family.dialect("hf").from_config(ForeignConfig(raw))
    except ZooError:
        return None


def _without(raw: dict[str, Any], path: tuple[str, ...], key: str) -> dict[str, Any]:
    out = copy.deepcopy(raw)
    del (out[path[0]] if path else out)[key]
    return out


def _with(raw: dict[str, Any], path: tuple[str, ...], key: str, value: Any) -> dict[str, Any]:
    out = copy.deepcopy(raw)
    (out[path[0]] if path else out)[key] = value
    return out
