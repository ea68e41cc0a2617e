"""Decoding with packed weights against the same model in float32 and bfloat16, all in one process, taking turns."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from turns import spread, table

import zoo
from zoo.nn.packed import packed_layers
from zoo.units import human_bytes

SHAPE, PROMPT, NEW, REPEATS = "smollm2-135m", 16, 8, 5
FORMS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8, the rest bfloat16": {"dtype": "bfloat16", "quantize": "int8"},
    "int4, the rest bfloat16": {"dtype": "bfloat16", "quantize": "int4"},
}
PEAK = """
import sys, warnings
warnings.simplefilter("ignore")
import torch, zoo, zoo.generation, zoo.checkpoint.loading, zoo.plugins.llama.model
from zoo.measurement.speed.memory import peak_bytes
torch.ones(64, 64) @ torch.ones(64, 64)
before = peak_bytes()
model = zoo.load(sys.argv[1], **eval(sys.argv[2]))
zoo.generate(model, [[1, 2, 3]], max_new_tokens=4)
print(peak_bytes() - before)
"""


def report(smollm2: Path | None) -> list[str]:
    """Tokens per second by form and threads, what each takes, and the ratios of the turns."""
    with warnings.catch_warnings(), TemporaryDirectory(prefix="zoo-bench-") as folder:
        warnings.simplefilter("ignore", zoo.errors.ZooWarning)
        plain = zoo.save(zoo.build(SHAPE, device="cpu", dtype="bfloat16"), Path(folder) / "plain")
        models = {name: zoo.build(SHAPE, device="cpu", **options).eval() for name, options in FORMS.items()}
        rows = [row for threads in (1, 2) for row in _decode(models, threads)]
        peaks = [_peak(plain, name, models[name]) for name in FORMS]
    about = [
        f"The shape of SmolLM2-135M with random weights, batch 1, {PROMPT} tokens read, then {NEW} written one by one,",
        f"{REPEATS} turns. Embedding and head keep their type. Peak memory is that of a process that loads a file of",
        "bfloat16 and writes four tokens, above what it has after importing all that it needs.",
    ]
    head = ["weights", "threads", "tokens/s", "against float32", "against bfloat16"]
    return [
        "## Packed weights", "", *about, "", *table(head, rows), "",
        *table(["weights", "bytes of the model", "peak", "peak / bytes"], peaks),
    ]  # fmt: skip


def _decode(models: dict[str, Any], threads: int) -> list[list[str]]:
    torch.set_num_threads(threads)
    prompt = torch.randint(1000, (1, PROMPT), generator=torch.Generator().manual_seed(0))
    for model in models.values():
        _seconds(model, prompt)
    turns = [{name: _seconds(model, prompt) for name, model in models.items()} for _ in range(REPEATS)]
    rows = []
    for name in models:
        rates = [NEW / turn[name] for turn in turns]
        against = [spread([turn[other] / turn[name] for turn in turns], "×") for other in ("float32", "bfloat16")]
        rows.append([name, str(threads), f"{median(rates):.1f}", *against])
    return rows


@torch.inference_mode()
def _seconds(model: Any, prompt: Any) -> float:
    """Of the steps behind the prompt."""
    cache = model.new_cache(1, PROMPT + NEW)
    token = model(prompt, cache=cache, last=True).argmax(-1)
    start = time.perf_counter()
    for _ in range(NEW):
        token = model(token, cache=cache, last=True).argmax(-1)
    return time.perf_counter() - start


def _peak(folder: Path, name: str, model: Any) -> list[str]:
    options = FORMS[name]
    nbytes = sum(p.nbytes for p in model.parameters()) + sum(m.nbytes for m in packed_layers(model).values())
    code = [sys.executable, "-P", "-c", PEAK, str(folder), repr(options)]
    found = int(subprocess.run(code, check=True, capture_output=True, text=True, env=os.environ).stdout.split()[-1])
    return [name, human_bytes(nbytes), human_bytes(found), f"{found / nbytes:.2f}"]
