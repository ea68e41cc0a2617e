"""A sliding window's prefill is linear in the length of the text: the same layers with and without a window."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import torch
from turns import alternate, ratio, spread, table

import zoo

REPEATS = 3
LENGTHS = (1024, 2048, 4096, 8192, 16384)
WINDOW = 256
SHAPE = (
    "model.num_layers=2", "model.hidden_size=128", "model.intermediate_size=256", "model.num_heads=4",
    "model.num_kv_heads=2", "model.head_dim=32", "model.vocab_size=512", "model.max_seq_len=16384",
    "model.bos_token_id=1", "model.eos_token_id=[2]",
)  # fmt: skip


def report(smollm2: Path | None) -> list[str]:
    """Seconds of a prefill by length, and what one more doubling costs."""
    windowed = zoo.build("mistral-7b", *SHAPE, f"model.sliding_window={WINDOW}", device="cpu").eval()
    full = zoo.build("mistral-7b", *SHAPE, "model.sliding_window=null", device="cpu").eval()
    rows, before = [], [0.0, 0.0]
    for length in LENGTHS:
        tokens = torch.randint(512, (1, length), generator=torch.Generator().manual_seed(0))
        sides = (lambda tokens=tokens: seconds(windowed, tokens), lambda tokens=tokens: seconds(full, tokens))
        found = alternate(*sides, repeats=REPEATS)
        now = [median(values) for values in found]
        growth = [f"{b / a:.2f}×" if a else "" for a, b in zip(before, now, strict=True)]
        shown = [spread(values, "ms", 1000) for values in found]
        rows.append([f"{length:,}", shown[0], growth[0], shown[1], growth[1], ratio(*found)])
        before = now
    about = [
        f"Two layers of Mistral, 128 wide, with a window of {WINDOW} tokens and without; logits of the last position.",
        "*Growth* is for a doubled text: 2× is linear.",
    ]
    head = ["tokens", f"window {WINDOW}", "growth", "no window", "growth", "ratio"]
    return ["## Sliding window", "", *about, "", *table(head, rows)]


@torch.inference_mode()
def seconds(model: torch.nn.Module, tokens: torch.Tensor) -> float:
    """Of one forward pass."""
    start = time.perf_counter()
    model(tokens, last=True)
    return time.perf_counter() - start
