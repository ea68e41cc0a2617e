"""YaRN in Gemma 3: where transformers looks for `truncate`, and where zoo does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.anatomy import RopeConfig
from zoo.nn import Rope

YARN: dict[str, Any] = {
    "rope_type": "yarn", "rope_theta": 271_838.1, "factor": 3.76, "original_max_position_embeddings": 16,
    "beta_fast": 16.4, "truncate": False,
}  # fmt: skip


def of_zoo(*, truncate: bool) -> torch.Tensor:
    rope = RopeConfig(
        theta=271_838.1, scaling="yarn", factor=3.76, original_max_seq_len=16, beta_fast=16.4, truncate=truncate
    )
    return torch.as_tensor(Rope(30, rope, 64).short, dtype=torch.float64)


def test_transformers_rounds_whatever_the_group_says() -> None:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding

    groups = {"full_attention": YARN, "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}
    config = transformers.Gemma3TextConfig(
        hidden_size=24, head_dim=30, num_attention_heads=2, num_hidden_layers=2, vocab_size=9, rope_parameters=groups,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    found = Gemma3RotaryEmbedding(config).full_attention_inv_freq.double()
    assert (found - of_zoo(truncate=True)).abs().max() < 1e-6  # theirs are of float32
    assert (found - of_zoo(truncate=False)).abs().max() > 0.1


def test_zoo_rounds_where_the_group_says_so() -> None:
    """The second of 15 pairs: a bound at 1.12 blends it by 0.89, one at 2 by a half."""
    pure = 271_838.1 ** (-2 / 30)
    for truncate, share in ((True, 0.5), (False, 1 / 1.1203)):
        blended = pure * (1 - share) + pure / 3.76 * share
        assert of_zoo(truncate=truncate)[1].item() == pytest.approx(blended, rel=1e-3)
