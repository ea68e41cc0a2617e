"""Prefill and decode against transformers, by what `zoo bench` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turns import table

from zoo.cli.benching import memory, rate
from zoo.measurement.speed.benchmark import duel
from zoo.measurement.speed.job import Job

REPEATS = 5


def report(smollm2: Path | None) -> list[str]:
    """Tokens per second on both sides, and the ratios of each turn."""
    jobs = {
        "tiny, float32": Job("tiny", prompt=128, new=64, dtype="float32"),
        "tiny, bfloat16": Job("tiny", prompt=128, new=64),
        "tiny, float32, batch 8": Job("tiny", prompt=128, new=64, batch=8, dtype="float32"),
    }
    if smollm2 is not None:
        jobs["SmolLM2-135M, float32"] = Job(str(smollm2), prompt=128, new=32, dtype="float32")
    rows = []
    for name, job in jobs.items():
        found = duel(name, job, repeats=REPEATS, against="transformers").to_dict()
        for what in ("prefill", "decode"):
            sides = [rate(model[what]) for model in found["models"]]
            rows.append([name, f"{what} {found['prompt' if what == 'prefill' else 'new']}", *sides, held(found, what)])
        peaks = [memory(model["memory"]) for model in found["models"]]
        rows.append([name, "peak memory", *peaks, f"{found['same_tokens']:.0%} of tokens the same"])
    about = [
        "`zoo bench SOURCE --against transformers`: greedy, each side in a process of its own, the other waiting. Both",
        "choose their own attention, which is torch's fused one; logits of the last position only.",
    ]
    return ["## Speed", "", *about, "", *table(["model", "", "zoo", "transformers", "ratio"], rows)]


def held(found: dict[str, Any], what: str) -> str:
    """A ratio with its spread."""
    ratio = found["ratios"][what]
    return f"{ratio['median']:.2f}× ({ratio['least']:.2f} to {ratio['most']:.2f})"
