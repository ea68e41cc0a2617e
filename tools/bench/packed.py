"""Decoding with packed weights against float32 and bfloat16, and what others decode at, in one process, taking turns.

tools/bench/packed.py 1     zoo's own rows with one thread, in a minute
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import memory
import peers
import torch
from turns import spread, table

import zoo

SHAPE, PROMPT, NEW, REPEATS = "smollm2-135m", 16, 4, 11
FORMS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8, with the head": {"dtype": "bfloat16", "quantize": "int8"},
    "int4, the rest bfloat16": {"dtype": "bfloat16", "quantize": "int4"},
}


def report(smollm2: Path | None) -> list[str]:
    """Tokens per second by form and threads, the ratios of the turns, and the memory that each form takes."""
    with warnings.catch_warnings(), TemporaryDirectory(prefix="zoo-bench-") as folder:
        warnings.simplefilter("ignore", zoo.errors.ZooWarning)
        plain = zoo.save(zoo.build(SHAPE, device="cpu", dtype="bfloat16"), Path(folder) / "plain")
        files = _files(smollm2, Path(folder))
        found = [_on_cores(1, plain, files), _on_cores(2, None, {})]
        peaks = memory.peaks(plain, smollm2)
    rows, missing = [row for rows, _ in found for row in rows], found[0][1] | found[1][1]
    about = [
        f"The shape of SmolLM2-135M with random weights, batch 1, {PROMPT} tokens read, then {NEW} written one by one.",
        "int8 has the head in 8 bits, which is the embedding too; in int4 it keeps its type, as with transformers. All",
        f"take {REPEATS} turns in one process, pinned to as many cores as it has threads, timed in seconds of",
        "CPU with one thread and of the clock with two, llama.cpp by its own; the median of the turns' ratios, the",
        "least and the most. With two threads zoo is alone: those of five libraries keep each other waiting. Load of",
        f"the machine meanwhile (1 minute): {_load()}.",
    ]
    head = ["weights", "threads", "tokens/s", "against float32", "against bfloat16"]
    told = [
        "Peak memory: the rise of a process's high-water mark of resident memory, mapped files included, from when it",
        "has loaded and run the model in the box until it has loaded the model and written four tokens.",
    ]
    absent = [f"Not measured: {'; '.join(f'{name}: {why}' for name, why in missing.items())}.", ""] if missing else []
    return ["## Packed weights", "", *about, "", *table(head, rows), "", *absent, *told, "", *peaks]


def _files(smollm2: Path | None, folder: Path) -> dict[str, Path]:
    """SmolLM2, which has the same shape, as llama.cpp's own blocks; nothing where it is not there."""
    if smollm2 is None:
        return {}
    files = {kind: folder / f"{kind}.gguf" for kind in peers.OF_LLAMA_CPP}
    for kind, file in files.items():
        zoo.convert(smollm2, file, format="gguf", type=kind)
    return files


def _on_cores(threads: int, plain: Path | None, files: dict[str, Path]) -> tuple[list[list[str]], dict[str, str]]:
    """The rows of one number of threads, and what is missing, from a process that runs on as many cores."""
    pin = ["taskset", "-c", ",".join(map(str, range(threads)))] if shutil.which("taskset") else []
    words = [*pin, sys.executable, str(Path(__file__).resolve()), str(threads), str(plain or "")]
    words += [json.dumps({kind: str(file) for kind, file in files.items()})]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    rows, missing = json.loads(done.stdout.splitlines()[-1])
    return rows, missing


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def _decode(threads: int, plain: Path | None = None, files: dict[str, Path] | None = None) -> Any:
    """The rows of zoo, and with a folder of the same shape those of the others; and what is missing."""
    torch.set_num_threads(threads)
    models: dict[str, Any] = {name: zoo.build(SHAPE, device="cpu", **options).eval() for name, options in FORMS.items()}
    prompt = torch.randint(1000, (1, PROMPT), generator=torch.Generator().manual_seed(0))
    sides: dict[str, Any] = {name: partial(_seconds, model, prompt) for name, model in models.items()}
    missing: dict[str, str] = {}
    if plain is not None:
        for found, absent in (
            peers.in_transformers(plain, prompt, NEW), peers.in_llama_cpp(files or {}, prompt, NEW),
        ):  # fmt: skip
            sides |= found
            missing |= absent
    return _rows(sides, threads), missing


def _rows(sides: dict[str, Any], threads: int) -> list[list[str]]:
    """Tokens per second of each side, and its turns against zoo's float32 and bfloat16; the first does not count."""
    turns = [{name: side() for name, side in sides.items()} for _ in range(1 + REPEATS)][1:]
    rows = []
    for name in sides:
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
    count, folder, blocks = (*sys.argv[1:], None, None)[:3]
    given = {kind: Path(file) for kind, file in json.loads(blocks or "{}").items()}
    print(json.dumps(_decode(int(count or 1), Path(folder) if folder else None, given)))
