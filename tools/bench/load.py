"""How long a checkpoint takes to load, against transformers: the same files, each in a fresh process."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from turns import alternate, in_a_child, ratio, spread, table

import zoo

REPEATS = 3
TINY = Path(zoo.__file__).parent / "box" / "tiny"

# The libraries are imported first; the forward pass at the end reads every page of a file that is only mapped.
OURS = """
import sys, time, torch, zoo
zoo.load("tiny")
t = torch.tensor([[1, 2, 3]])
start = time.perf_counter()
model = zoo.load(sys.argv[1])
if sys.argv[2] == "used":
    with torch.inference_mode():
        model(t)
print(time.perf_counter() - start)
"""
THEIRS = """
import sys, time, torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging
logging.disable_progress_bar()
AutoModelForCausalLM.from_pretrained(sys.argv[3], trust_remote_code=False)
t = torch.tensor([[1, 2, 3]])
start = time.perf_counter()
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=False)
if sys.argv[2] == "used":
    with torch.inference_mode():
        model(t)
print(time.perf_counter() - start)
"""


def report(smollm2: Path | None) -> list[str]:
    """Seconds until a model is there, and until it has read three tokens."""
    rows = []
    with TemporaryDirectory(prefix="zoo-bench-") as home:
        sources = {"tiny, bf16, 2.1 MB": TINY}
        if smollm2 is not None:
            sources["SmolLM2-135M, bf16, 269 MB"] = zoo.convert(
                smollm2, f"{home}/smollm2", format="hf", dtype="bfloat16"
            ).folder
        for name, folder in sources.items():
            for what in ("loaded", "used"):
                words = (str(folder), what, str(TINY))
                ours, theirs = alternate(
                    lambda words=words: in_a_child(OURS, *words),
                    lambda words=words: in_a_child(THEIRS, *words),
                    repeats=REPEATS,
                )
                shown = [spread(values, "ms", 1000) for values in (ours, theirs)]
                rows.append([name, what, *shown, ratio(ours, theirs)])
    about = [
        "From a folder of safetensors in the page cache to a model; *used*: and three tokens read. Each in a fresh",
        "process that has imported its library and loaded `tiny` before, so that imports do not count. zoo reads every",
        "number once while it loads, to refuse NaN and infinity; transformers does not.",
    ]
    return ["## Loading", "", *about, "", *table(["checkpoint", "", "zoo", "transformers", "ratio"], rows)]
