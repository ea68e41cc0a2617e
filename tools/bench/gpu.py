#!/usr/bin/env python3
"""Decoding on a GPU: zoo step by step, compiled, and transformers, beside what reading the weights alone would take.

    tools/bench/gpu.py [--only smollm2-135m,llama3.2-1b] [--new 128] [--json]

Random weights in bfloat16, batch 1, greedy. The limit is the time of reading the weights once a token, at the rate that
this GPU copies at. A check goes before: the greedy tokens of `tiny` in float32 are the CPU's.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from turns import table

import zoo
from zoo.measurement.speed.job import Job
from zoo.measurement.speed.theirs import TransformersRunner

SHAPES = ("smollm2-135m", "llama3.2-1b")
PROMPT, REPEATS = 128, 3
WAYS: list[dict[str, Any]] = [{}, {"compile": "graph"}, {"compile": True}]
HEAD = ("shape", "", "tok/s", "ms/token", "of the limit", "host waits a token", "first call")


def main() -> None:
    """Print a row of each way and shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SHAPES), help="presets, with commas between them")
    parser.add_argument("--new", type=int, default=128, help="tokens that are written")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.backends.cuda.matmul.allow_tf32 = False
    print(f"{torch.cuda.get_device_name()} · torch {torch.__version__} · bytes read at {bandwidth() / 1e9:.0f} GB/s")
    print(same_as_on_the_cpu())
    rows = []
    for name in arguments.only.split(","):
        rows += rows_of(name, arguments.new, bandwidth())
    print("\n".join(table(HEAD, rows)))
    if arguments.json:
        print(json.dumps([dict(zip(HEAD, row, strict=True)) for row in rows]))


def rows_of(name: str, new: int, rate: float) -> list[list[str]]:
    """The ways to decode a shape, the machine's limit first."""
    prompt = torch.randint(1000, (1, PROMPT), generator=torch.Generator().manual_seed(0)).tolist()[0]
    model: Any = zoo.build(name, device="cuda", dtype="bfloat16").eval()
    size = sum(p.nbytes for p in model.parameters())
    limit = size / rate
    rows = [[name, f"limit: {size / 2**20:.0f} MiB once", f"{1 / limit:.0f}", f"{limit * 1e3:.2f}", "1.00", "", ""]]
    for options in WAYS:
        way = partial(ours, model, prompt, **options)
        rows.append(measured(name, ", ".join(["zoo", *(f"{k}={v}" for k, v in options.items())]), way, new, limit))
    rows.append(measured(name, "transformers", partial(theirs, rival(name), prompt), new, limit))
    gc.collect()
    torch.cuda.empty_cache()
    return rows


def ours(model: Any, prompt: list[int], new: int, **options: Any) -> None:
    """So many tokens by zoo."""
    zoo.generate(model, prompt, max_new_tokens=new, eos_token_id=[], **options)


def theirs(model: Any, prompt: list[int], new: int) -> None:
    """So many tokens by transformers."""
    ids = torch.tensor([prompt], device="cuda")
    words = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    model.generate(ids, max_new_tokens=new, min_new_tokens=new, **words)


def rival(name: str) -> Any:
    """The same shape in transformers."""
    with torch.device("cuda"):
        return TransformersRunner(Job(config=zoo.compose(name).to_dict(), device="cuda", dtype="bfloat16")).model


def measured(name: str, way: str, call: Callable[[int], Any], new: int, limit: float) -> list[str]:
    """Seconds a token behind the first: of long texts, less those of short ones."""
    try:
        first = seconds(lambda: call(new))
        call(2)
        each = median(seconds(lambda: call(new)) - seconds(lambda: call(2)) for _ in range(REPEATS)) / (new - 2)
        waits = num_waits(lambda: call(12)) - num_waits(lambda: call(2))
    except Exception as error:  # the other rows are told all the same
        return [name, way, f"{type(error).__name__}: {str(error).splitlines()[0][:120]}", *[""] * 4]
    row = [f"{1 / each:.0f}", f"{each * 1e3:.2f}", f"{limit / each:.2f}", f"{waits / 10:.1f}", f"{first:.1f} s"]
    return [name, way, *row]


def seconds(call: Callable[[], Any]) -> float:
    """Of a call, until the GPU has done its part."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def num_waits(call: Callable[[], Any]) -> int:
    """How often the host waits for the GPU in a call, as torch itself tells."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def bandwidth() -> float:
    """Bytes a second that a sum over a large tensor reads."""
    numbers = torch.ones(2**30, dtype=torch.bfloat16, device="cuda")
    best = min(seconds(lambda: numbers.view(torch.int64).amax()) for _ in range(10))
    return numbers.nbytes / best


def same_as_on_the_cpu() -> str:
    """Whether greedy tokens on the GPU are those of the CPU, in float32, of one row and of rows of unequal length."""
    prompts = [[1, 2, 3], [5], [7, 8, 9, 10, 11, 12]]
    models = [zoo.load("tiny", dtype="float32", device=device) for device in ("cpu", "cuda")]
    cases: list[dict[str, Any]] = [{}, {"temperature": 0.8, "seed": 3}, {"compile": "graph"}]
    for settings in cases:
        for texts in (prompts[:1], prompts):
            cpu, cuda = (
                zoo.generate(m, texts, max_new_tokens=48, eos_token_id=[], **on).new_tokens
                for m, on in zip(models, (settings | {"compile": False}, settings), strict=True)
            )
            if cpu != cuda:
                return f"NOT the tokens of the CPU: {texts} {settings}\n  cpu  {cpu}\n  cuda {cuda}"
    return "tiny, float32, greedy and drawn, one row and three: the tokens of the CPU"


if __name__ == "__main__":
    main()
