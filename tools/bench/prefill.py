"""Reading 512 tokens at once beside transformers and what a large matrix product reaches on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pair
from turns import table

WORK: dict[str, Any] = {"what": "read", "tokens": (1, 512), "limit": "gemm"}


def report(smollm2: Path | None) -> list[str]:
    """A row of each type."""
    rows = []
    for dtype in ("float32", "bfloat16", "float16"):
        work = {**WORK, "name": f"SmolLM2-135M's shape, {dtype}, 2 threads"}
        rows += pair.rows({"preset": "smollm2-135m", "dtype": dtype, "work": [work]})
    about = [
        "A pass over 512 tokens, logits of the last, without a cache. The limit is the time of the products with all",
        "weights but the embedding's at the rate of a product of two matrices of 2048 x 2048 in that type, by MKL or",
        "by oneDNN, whichever is the faster; in float32 where no library multiplies in that type.",
    ]
    return ["## Reading 512 tokens", "", *about, "", *table(pair.HEAD, rows)]
