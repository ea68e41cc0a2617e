"""DeepSeek in GGUF: a YaRN whose temperature no key gives is refused both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed
from zoo.weights import ForeignConfig

SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_layers": 3, "num_heads": 2, "q_lora_rank": 16,
    "kv_lora_rank": 16, "nope_head_dim": 8, "rope_head_dim": 8, "v_head_dim": 8, "num_dense_layers": 1,
    "num_experts": 4, "experts_per_token": 2, "moe_intermediate_size": 16, "num_shared_experts": 1, "max_seq_len": 256,
}  # fmt: skip
PLAIN = RopeConfig(1e4, "yarn", 4.0, 64)
WARM = RopeConfig(1e4, "yarn", 4.0, 64, mscale=1.0, mscale_all_dim=1.0)


def test_a_yarn_without_its_temperature_is_refused_both_ways() -> None:
    family = installed()["deepseek"]
    dialect = family.dialect("gguf")
    whole = family.config_class(**SIZES, rope=WARM)
    raw = dialect.to_config(whole)
    lacking = {name: value for name, value in raw.items() if "log_multiplier" not in name}
    assert len(lacking) == len(raw) - 1
    with pytest.raises(CheckpointError, match="yarn_log_multiplier: is missing or 0"):
        dialect.from_config(ForeignConfig(lacking, Path("m.gguf"), {}))
    with pytest.raises(UsageError, match="yarn without"):
        dialect.to_config(family.config_class(**SIZES, rope=PLAIN))
