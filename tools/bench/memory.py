"""The most memory that a process holds which loads a model packed and writes a few tokens, above what it needs anyway.

A process of its own imports everything, and loads and runs the small model in the box in the same way; the high-water
mark of its resident memory (VmHWM), mapped pages of weight files included, is what it needs anyway. Then it loads the
model and writes tokens. What the mark has risen by is held against the bytes of the model: packed matrices as they are
in memory or in the file, and the other parameters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from turns import table

from zoo.units import human_bytes

CHILD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch, zoo
from zoo.measurement.speed.memory import peak_bytes
from zoo.nn.packed import packed_layers
torch.set_num_threads(1)
source, options = sys.argv[1], json.loads(sys.argv[2])
if source.endswith(".gguf"):
    import gguf
small = {k: v for k, v in options.items() if k != "keep_packed"}
zoo.generate(zoo.load("tiny", **small), [[1, 2, 3]], max_new_tokens=4)
before = peak_bytes()
model = zoo.load(source, **options)
layers = packed_layers(model).values()
held = sum(m.nbytes for m in layers) + sum(p.nbytes for p in model.parameters())
zoo.generate(model, [[1, 2, 3]], max_new_tokens=4)
print(json.dumps([before, peak_bytes(), held]))
"""


def peaks(plain: Path, smollm2: Path | None) -> list[str]:
    """A row for each way of holding weights packed."""
    cases: list[tuple[str, Path, dict[str, Any]]] = [
        ("quantize=int8", plain, {"quantize": "int8"}), ("quantize=int4", plain, {"quantize": "int4"}),
    ]  # fmt: skip
    if smollm2 is not None:
        cases.append((f"keep_packed, {smollm2.suffixes[-2].lstrip('.')} of GGUF", smollm2, {"keep_packed": True}))
    rows = [_row(*case) for case in cases]
    return table(
        ["weights", "the process without a model", "bytes of the model", "peak above it", "peak / bytes"], rows
    )


def _row(name: str, source: Path, options: dict[str, Any]) -> list[str]:
    words = [sys.executable, "-P", "-c", CHILD, str(source), json.dumps(options)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ)
    before, after, held = json.loads(done.stdout.splitlines()[-1])
    return [name, human_bytes(before), human_bytes(held), human_bytes(after - before), f"{(after - before) / held:.2f}"]
