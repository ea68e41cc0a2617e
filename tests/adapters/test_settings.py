"""adapter_config.json: every key is used, inert or refused by name."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from tests.adapters.folders import SETTINGS
from zoo.adapters import peft_library
from zoo.adapters.file.patterns import compiled, layer_of
from zoo.adapters.file.settings import read_settings
from zoo.errors import CheckpointError


def read(**settings: Any) -> Any:
    return read_settings(SETTINGS | settings, "adapter_config.json")


def test_what_peft_writes_for_a_plain_adapter_is_read() -> None:
    found = read()
    assert (found.rank, found.alpha, found.targets, found.words) == (2, 6.0, ("q_proj", "v_proj"), "LoRA")
    assert found.scaling_of("model.layers.0.self_attn.q_proj") == 3.0


def test_rank_alpha_and_the_root_of_the_rank_follow_the_patterns() -> None:
    patterns = {
        "rank_pattern": {"^model.layers.1.q_proj": 4, "v_proj": 9},
        "alpha_pattern": {r"layers\.\d+\.v_proj": 12},
    }
    found = read(**patterns, use_rslora=True)
    assert found.rank_of("model.layers.1.q_proj") == 4
    assert found.rank_of("model.model.layers.1.q_proj") == 2  # the pattern names the beginning
    assert found.rank_of("my_v_proj") == 2  # a name is whole words
    assert found.scaling_of("model.layers.0.v_proj") == 12 / 3
    assert found.words == "rank-stabilised LoRA"


REFUSED = [
    ({"peft_type": "IA3"}, "is IA3"),
    ({"peft_type": "PREFIX_TUNING"}, "is prefix tuning"),
    ({"peft_type": None}, "peft_type"),
    ({"lora_bias": True}, "lora_bias"),
    ({"use_qalora": True}, "QA-LoRA"),
    ({"layer_replication": [[0, 2]]}, "layer_replication"),
    ({"trainable_token_indices": [1]}, "trainable_token_indices"),
    ({"arrow_config": {"top_k": 2}}, "arrow_config"),
    ({"init_lora_weights": "pissa"}, "changes the base"),
    ({"init_lora_weights": "olora"}, "changes the base"),
    ({"use_rslra": True}, "did you mean: use_rslora"),
    ({"r": 0}, "r: is 0"),
    ({"r": True}, "r: is True"),
    ({"lora_alpha": "8"}, "lora_alpha"),
    ({"lora_alpha": float("inf")}, "lora_alpha"),
    ({"use_dora": "yes"}, "use_dora"),
    ({"bias": "some"}, "one of none, all, lora_only"),
    ({"rank_pattern": {"q_proj": 1.5}}, "rank_pattern"),
    ({"rank_pattern": [1]}, "is [1], not a table"),
    ({"target_modules": [1]}, "a list of names"),
    ({"target_parameters": "experts"}, "target_parameters"),
    ({"layers_to_transform": [-1]}, "layers_to_transform"),
    ({"rank_pattern": {str(i): 2 for i in range(5000)}}, "5,000 entries"),
    ({"target_modules": ["q_proj"] * 5000}, "5,000 entries"),
]


@pytest.mark.parametrize(("settings", "told"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_zoo_does_not_do_is_refused_by_name(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(**settings)
    assert told in str(caught.value)


def test_a_key_without_a_value_says_nothing() -> None:
    assert read(some_later_invention=None).rank == 2


@pytest.mark.parametrize("pattern", ["(a+)+$", "(.*)*", "a{1,9}", r".*.*.*.*", "(?=x)y", "[a-z]+", "(a|a)*b"])
def test_a_pattern_that_may_take_long_is_not_evaluated(pattern: str) -> None:
    with pytest.raises(CheckpointError, match="does not evaluate"):
        compiled(pattern, "adapter_config.json", "target_modules")


def test_the_first_number_is_that_of_the_layer() -> None:
    assert layer_of("model.layers.3.mlp.experts.7.up_proj") == 3
    assert layer_of("model.layers.3.mlp.experts.7.up_proj", ["experts"]) == 7
    assert layer_of("lm_head") is None


def test_an_import_of_peft_fetches_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bitsandbytes, which peft imports where it is there, asks a package `kernels` for code from the hub."""
    asked: list[str] = []
    kernels = ModuleType("kernels")
    kernels.get_kernel = asked.append  # type: ignore[attr-defined]

    def bitsandbytes(name: str) -> str:
        with suppress(ImportError):
            importlib.import_module("kernels").get_kernel("kernels-community/quantization-bitsandbytes")
        return name

    monkeypatch.setitem(sys.modules, "kernels", kernels)
    monkeypatch.setattr(peft_library, "import_module", bitsandbytes)
    assert peft_library.library() == "peft"
    assert not asked
    assert sys.modules["kernels"] is kernels
