"""Converting beside copying: a gigabyte of tensors that change their names, and one that changes its type."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from turns import alternate, ratio, seconds, spread, table

from zoo.units import human_bytes

REPEATS = 2  # a turn writes a gigabyte four times
SHAPE = ("model.num_layers=48", "model.vocab_size=32000")  # of smollm2-360m: 503M parameters

MAKE = """
import json, sys, zoo
model = zoo.build("smollm2-360m", *json.loads(sys.argv[2]), device="cpu", dtype="bfloat16")
zoo.save(model, sys.argv[1], format="hf")
"""
# The high-water mark of resident memory holds the libraries and what is mapped of files too.
CONVERT = """
import re, sys
from zoo.cli import main
try:
    main(["convert", *sys.argv[1:]])
finally:
    print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1], "torch" in sys.modules)
"""
CAST = """
import os, sys, torch
from safetensors import safe_open
from safetensors.torch import save_file
with safe_open(sys.argv[1], "pt") as file:
    save_file({name: file.get_tensor(name).to(torch.float16) for name in file.keys()}, sys.argv[2])
os.sync()
"""


def report(smollm2: Path | None) -> list[str]:
    """Seconds of a whole process on either side, with the bytes on the disk when it ends; CPU; memory."""
    with TemporaryDirectory(prefix="zoo-bench-") as home:
        source, folder = Path(home, "source"), Path(home, "out")
        _python(MAKE, str(source), json.dumps(SHAPE))
        size = human_bytes((source / "model.safetensors").stat().st_size)
        weights = str(source / "model.safetensors")
        copy = ["sh", "-c", f"mkdir {folder} && cp {source}/* {folder} && sync"]
        told: dict[str, str] = {}
        rows = []
        for name, words, other in (
            (f"{size}, renamed", ["--to", "zoo"], lambda: _run(copy)),
            (f"{size}, cast to float16", ["--to", "hf", "--dtype", "float16"],
             lambda: _python(CAST, weights, str(folder))),
        ):  # fmt: skip

            def ours(name: str = name, words: list[str] = words) -> None:
                told[name] = _python(CONVERT, str(source), str(folder), *words).split("\n")[-2]

            rows.append(_row(name, folder, ours, other, told))
    about = [
        "`zoo convert` beside `cp` and `sync` where tensors only change their names, and beside a loop that reads,",
        "casts and saves all of them, and `sync`, where they change their type. Each a process of its own, imports and",
        "all; the source in the page cache. zoo looks for NaN, hashes both sides and reads back from the disk what it",
        "wrote. Peak: the high-water mark of resident memory (VmHWM), libraries and mapped files included.",
    ]
    head = ["", "zoo", "CPU", "copy, or loop that casts", "CPU", "zoo takes", "peak", "torch imported"]
    return ["## Converting", "", *about, "", *table(head, rows)]


def _row(
    name: str, folder: Path, ours: Callable[[], object], other: Callable[[], object], told: dict[str, str]
) -> list[str]:
    cpu: list[list[float]] = [[], []]
    sides = alternate(
        *(lambda f=f, spent=spent: _timed(folder, f, spent) for f, spent in zip((ours, other), cpu, strict=True)),
        repeats=REPEATS,
    )
    kib, has_torch = told[name].split()
    shown = [
        text for side, spent in zip(sides, cpu, strict=True) for text in (spread(side, "s"), spread(spent[1:], "s"))
    ]
    return [
        name,
        *shown,
        ratio(sides[1], sides[0]),
        human_bytes(int(kib) * 1024),
        {"True": "yes", "False": "no"}[has_torch],
    ]


def _timed(folder: Path, action: Callable[[], object], spent: list[float]) -> float:
    """Seconds of an action that writes `folder`, and its CPU; what lies there is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.unlink(missing_ok=True)
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = seconds(action)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return found


def _python(code: str, *arguments: str) -> str:
    return _run([sys.executable, "-P", "-W", "ignore", "-c", code, *arguments])


def _run(words: list[str]) -> str:
    place = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(words, check=True, capture_output=True, text=True, env=place).stdout
