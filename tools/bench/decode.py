"""Decoding beside transformers and what reading the weights once takes: SmolLM2-135M's shape, and `tiny`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pair
from turns import table

SHAPE: dict[str, Any] = {"what": "decode", "tokens": (1, 16), "limit": "bandwidth"}
LATE = {**SHAPE, "tokens": (1, 1024), "new": 12, "repeats": 4}
COMPILED = {"compile": True}
TINY: dict[str, Any] = {"what": "decode", "tokens": (1, 16), "new": 64, "repeats": 9}


def report(smollm2: Path | None) -> list[str]:
    """Rows of each type and number of threads, step by step and compiled; then of `tiny`."""
    rows = []
    for dtype in ("float32", "bfloat16"):
        for threads in (1, 2):
            name = f"SmolLM2-135M's shape, {dtype}, {threads} thread{'s' * (threads > 1)}"
            work = [{**SHAPE, "name": name}, {**SHAPE, "name": f"{name}, compiled", "options": COMPILED}]
            rows += pair.rows({"preset": "smollm2-135m", "dtype": dtype, "work": work}, threads=threads)
    for dtype in ("bfloat16", "float16"):
        work = [{**LATE, "name": f"SmolLM2-135M's shape, {dtype}, 2 threads, after 1,024 tokens"}]
        rows += pair.rows({"preset": "smollm2-135m", "dtype": dtype, "work": work}, threads=2)
    name = "tiny, float32, 1 thread"
    work = [{**TINY, "name": name}, {**TINY, "name": f"{name}, compiled", "options": COMPILED}]
    rows += pair.rows({"preset": "tiny", "work": work}, threads=1)
    about = [
        "A token of `generate`, greedy, batch 1, the middle one of a text's; seconds of CPU with one thread, of the",
        "clock with two. Both sides have read the same folder, and write the same tokens: that is checked. The limit",
        "reads every weight once at the rate at which this machine reads memory, in the same process. transformers is",
        "not compiled. Types of 8 and 4 bits: *Packed weights*.",
    ]
    return ["## Decoding", "", *about, "", *table(pair.HEAD, rows)]
