"""How long a checkpoint takes to load, against transformers and the mere mapping of it: each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from turns import ratio, spread, table

import zoo
from zoo.units import human_bytes

REPEATS, TIMES = 3, 3  # turns of each side, and how often each loads a folder in its turn
TINY = Path(zoo.__file__).parent / "box" / "tiny"
SHAPE = ("smollm2-360m", "model.num_layers=23")  # 273M parameters

# The libraries are imported first; the forward pass at the end reads every page of a file that is only mapped.
BEGIN = """
import gc, json, sys, time, torch
tiny, times, work = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
def told(load, run):
    t, found = torch.tensor([[1, 2, 3]]), []
    for source, what in work:
        took = []
        for _ in range(times):
            gc.collect()
            start, cpu = time.perf_counter(), time.process_time()
            model = load(source)
            if what == "used":
                with torch.inference_mode():
                    run(model, t)
            took.append((time.perf_counter() - start, time.process_time() - cpu))
            del model
        found.append([sorted(column)[times // 2] for column in zip(*took)])
    print(json.dumps(found))
"""
OURS = f"""{BEGIN}
import zoo
zoo.load(tiny)
told(zoo.load, lambda m, t: m(t))
"""
THEIRS = f"""{BEGIN}
from transformers import AutoModelForCausalLM
from transformers.utils import logging
logging.disable_progress_bar()
load = lambda path: AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False)
load(tiny)
told(load, lambda m, t: m(t))
"""
MAPPED = f"""{BEGIN}
import zoo
from safetensors.torch import load_file
zoo.load(tiny)
ledgers = {{source: zoo.inspect(source) for source, _ in work}}
def load(source):
    ledger = ledgers[source]
    found = zoo.build(ledger.config, device="meta")
    names = {{step.theirs[0]: step.ours[0] for step in ledger.account.steps}}
    found.load_state_dict({{names[n]: t for n, t in load_file(source + "/model.safetensors").items() if n in names}},
                          assign=True, strict=False)
    return found
told(load, lambda m, t: None)
"""
SIDES = {"zoo": OURS, "transformers": THEIRS, "mapped": MAPPED}


def report(smollm2: Path | None) -> list[str]:
    """Seconds, and seconds of CPU, until a model is there, and until it has read three tokens."""
    with TemporaryDirectory(prefix="zoo-bench-") as home:
        large = zoo.save(zoo.build(*SHAPE, device="cpu", dtype="bfloat16"), Path(home, "large"))
        _read(large / "model.safetensors")
        work = [("tiny", TINY, "used"), ("273M parameters", large, "loaded"), ("273M parameters", large, "used")]
        given = json.dumps([(str(folder), use) for _, folder, use in work])
        found: dict[str, list[Any]] = {side: [] for side in SIDES}
        for turn in range(REPEATS + 1):
            for side, code in SIDES.items():
                numbers = _numbers(code, str(TINY), str(TIMES), given)
                if turn:  # the first does not count
                    found[side].append(numbers)
        rows = [
            [f"{name}, bf16, {human_bytes((folder / 'model.safetensors').stat().st_size)}", use, *_cells(found, i)]
            for i, (name, folder, use) in enumerate(work)
        ]
    about = [
        "From a folder of safetensors in the page cache to a model; *used*: and three tokens read. Each side in a",
        "process that has imported its library and loaded `tiny` before, so that imports do not count. zoo reads every",
        "number once while it loads, to refuse NaN and infinity; transformers does not. *Mapped*: safetensors' own",
        "reader, its tensors put into a module whose shapes are known, and nothing read: what can be done at most.",
        "The file was read from front to end before: so the page cache has it in pages of up to 2 MiB, as it has what",
        "was downloaded. What was never read but through a mapping it has in pages of 4 KiB, which take longer.",
    ]
    head = ["checkpoint", "", "zoo", "transformers", "times as fast", "mapped", "CPU: zoo", "transformers", "zoo takes"]
    return ["## Loading", "", *about, "", *table(head, rows)]


def _cells(found: dict[str, list[Any]], i: int) -> list[str]:
    """The cells of one work: seconds of each side by turn, and of CPU."""
    wall, cpu = ({side: [turn[i][kind] for turn in turns] for side, turns in found.items()} for kind in (0, 1))
    ours, theirs, mapped = (spread(values, "ms", 1000) for values in wall.values())
    spent = [spread(cpu[side], "ms", 1000) for side in ("zoo", "transformers")]
    faster, share = ratio(wall["zoo"], wall["transformers"]), ratio(cpu["transformers"], cpu["zoo"])
    return [ours, theirs, faster, mapped, *spent, share]


def _read(file: Path) -> None:
    """Have the system keep a file in memory, in the pages that it makes where one is read from front to end."""
    with file.open("rb", buffering=0) as opened:
        while opened.read(1 << 20):
            pass


def _numbers(code: str, *arguments: str) -> list[list[float]]:
    words = [sys.executable, "-P", "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])
