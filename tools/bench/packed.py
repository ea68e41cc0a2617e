"""Decoding with packed weights against the same model in float32 and bfloat16, all in one process, taking turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import memory
import torch
from turns import spread, table

import zoo

SHAPE, PROMPT, NEW, REPEATS = "smollm2-135m", 16, 4, 15
FORMS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8, the rest bfloat16": {"dtype": "bfloat16", "quantize": "int8"},
    "int4, the rest bfloat16": {"dtype": "bfloat16", "quantize": "int4"},
}
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait for each other leave the core to what else runs


def report(smollm2: Path | None) -> list[str]:
    """Tokens per second by form and threads, the ratios of the turns, and the memory that each form takes."""
    rows = [row for threads in (1, 2) for row in _on_cores(threads)]
    with warnings.catch_warnings(), TemporaryDirectory(prefix="zoo-bench-") as folder:
        warnings.simplefilter("ignore", zoo.errors.ZooWarning)
        plain = zoo.save(zoo.build(SHAPE, device="cpu", dtype="bfloat16"), Path(folder) / "plain")
        peaks = memory.peaks(plain, smollm2)
    about = [
        f"The shape of SmolLM2-135M with random weights, batch 1, {PROMPT} tokens read, then {NEW} written one by one.",
        f"Embedding and head keep their type. {REPEATS} turns in one process that is pinned to as many cores as it has",
        "threads, timed in seconds of CPU with one thread and of the clock with two; the median of the ratios of the",
        f"turns, the least and the most. Load of the machine meanwhile (1 minute): {_load()}.",
    ]
    head = ["weights", "threads", "tokens/s", "against float32", "against bfloat16"]
    told = [
        "Peak memory: the rise of a process's high-water mark of resident memory, mapped files included, from when it",
        "has loaded and run the model in the box until it has loaded the model and written four tokens.",
    ]
    return ["## Packed weights", "", *about, "", *table(head, rows), "", *told, "", *peaks]


def _on_cores(threads: int) -> list[list[str]]:
    """The rows of one number of threads, from a process that runs on as many cores."""
    pin = ["taskset", "-c", ",".join(map(str, range(threads)))] if shutil.which("taskset") else []
    words = [*pin, sys.executable, str(Path(__file__).resolve()), str(threads)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ | PATIENT)
    return json.loads(done.stdout.splitlines()[-1])


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def _decode(threads: int) -> list[list[str]]:
    torch.set_num_threads(threads)
    models: dict[str, Any] = {name: zoo.build(SHAPE, device="cpu", **options).eval() for name, options in FORMS.items()}
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
    """Of the steps behind the prompt: of CPU with one thread, which waits for nobody, else of the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    cache = model.new_cache(1, PROMPT + NEW)
    token = model(prompt, cache=cache, last=True).argmax(-1)
    start = clock()
    for _ in range(NEW):
        token = model(token, cache=cache, last=True).argmax(-1)
    return clock() - start


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(_decode(int(sys.argv[1]))))
