"""What Gemma 3 keeps of a long text: all of it in every sixth layer, a window in the others."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.anatomy.size import Size

pytestmark = pytest.mark.slow  # builds large models on meta

# layers, of which see all, key/value heads, head width, window: arXiv:2503.19786 and the released config.json's
RELEASED = {
    "gemma3-270m": (18, 3, 1, 256, 512),
    "gemma3-1b": (26, 4, 1, 256, 512),
    "gemma3-4b-text": (34, 5, 4, 256, 1024),
    "gemma3-4b": (34, 5, 4, 256, 1024),
    "gemma3-12b": (48, 8, 8, 256, 1024),
    "gemma3-27b": (62, 10, 16, 128, 1024),
}


@pytest.mark.parametrize("name", RELEASED)
def test_cache_at_32k_tokens_has_the_bytes_of_the_formula(name: str) -> None:
    layers, whole, heads, width, window = RELEASED[name]
    tokens = 32_768
    expected = 2 * 2 * heads * width * (whole * tokens + (layers - whole) * window)  # keys and values of 2 bytes
    model = zoo.build(name, dtype="bfloat16")  # on meta
    assert model.new_cache(1, tokens).nbytes == expected
    assert Size.of(model.config).cache_bytes(tokens) == expected


@torch.inference_mode()
def test_decoding_far_beyond_the_window_equals_one_pass() -> None:
    config = zoo.compose(
        "gemma3-270m", *(f"model.{word}" for word in (
            "vocab_size=61", "hidden_size=24", "intermediate_size=40", "num_layers=6", "sliding_window=8",
        )),
    )  # fmt: skip
    model = zoo.build(config, device="cpu", dtype="float64").eval()
    tokens = torch.randint(61, (1, 60), generator=torch.Generator().manual_seed(0))
    cache = model.new_cache(1, 60)
    steps = [model(tokens[:, :40], cache=cache), *(model(tokens[:, i : i + 1], cache=cache) for i in range(40, 60))]
    assert (torch.cat(steps, 1) - model(tokens)).abs().max() < 1e-9  # float64
    assert cache.nbytes == 8 * 2 * 256 * (60 + 5 * 8)
