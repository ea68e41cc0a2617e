#!/usr/bin/env python3
"""The benchmarks of docs/benchmarks.md: ratios, each measured in one run with both sides taking turns.

    tools/bench/run.py [--only start,load,convert,decode,prefill,families,...] [--write docs/benchmarks.md]
    tools/bench/run.py --against REV: this checkout and another of zoo instead

Needs transformers. SmolLM2-135M takes part where tools/fetch_smollm2.py or $ZOO_SMOLLM2 has put it. Each part is told
as soon as it is there, added to the history, a line of JSON a part, and written into the page, whose other parts stay
as they were: so the parts can be run one by one. One in which the two sides say different things, or which fails,
leaves its old figures on the page, and the run ends with 1. All of them take about ten minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import against
import cache
import convert
import decode
import families
import load
import packed
import prefill
import startup
import turns
import window

from zoo.measurement.environment import environment

PARTS = {
    "start": startup, "load": load, "convert": convert, "decode": decode, "prefill": prefill, "families": families,
    "window": window, "packed": packed, "cache": cache,
}  # fmt: skip
HISTORY = Path(__file__).parent / "history.jsonl"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
TITLES = {
    "start": "Start", "load": "Loading", "convert": "Converting", "decode": "Decoding", "prefill": "Reading 512 tokens",
    "families": "Families", "window": "Sliding window", "packed": "Packed weights", "cache": "A cache of 8 bits",
}  # fmt: skip


def main() -> None:
    """Run the parts and print, or write, the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--write", type=Path, help="the page to write these parts into")
    parser.add_argument("--against", metavar="REV", help="a revision of zoo to take turns with, instead of the page")
    parser.add_argument("--history", type=Path, default=HISTORY, help="the file that the run is added to")
    parser.add_argument("--remark", default="", help="a sentence about the machine, such as what else ran on it")
    arguments = parser.parse_args()
    if arguments.against:
        print("\n".join(against.report(arguments.against)))
        return
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"no part is called {unknown[0]!r}; known: {', '.join(PARTS)}")
    machine = environment()  # before the page is written, by which the checkout is another than its commit
    failed = [name for i, name in enumerate(names, 1) if not _run(name, f"{i}/{len(names)}", machine, arguments)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _run(name: str, place: str, machine: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Run one part, tell it, remember it and write it; whether it did not fail."""
    print(f"[{place}] {name} ...", file=sys.stderr, flush=True)
    start, load = time.perf_counter(), f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    turns.TABLES.clear()
    lines, why = [], ""
    try:
        lines = PARTS[name].report(smollm2())
        assert lines[0] == f"## {TITLES[name]}", lines[0]
    except (Exception, SystemExit) as error:
        why = str(error.stderr if isinstance(error, subprocess.CalledProcessError) else error)
    took = time.perf_counter() - start
    print(f"[{place}] {name}: {f'FAILED: {why}' if why else f'{took:.0f} s'}", file=sys.stderr, flush=True)
    told: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"), "part": name, "seconds": round(took),
        "load": load, "failed": why, "environment": machine, "tables": turns.TABLES,
    }  # fmt: skip
    with arguments.history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told, ensure_ascii=False) + "\n")
    if why:
        return False
    commit = machine["commit"] or "no commit"
    lines = [
        *lines,
        "",
        f"*{told['when'][:10]}, zoo at {commit}; load when it began: {load}. {arguments.remark}".rstrip() + "*",
    ]
    print("\n".join(lines) + "\n", flush=True)
    if arguments.write:
        _write(arguments.write, TITLES[name], lines, machine)
    return True


def _write(page: Path, title: str, lines: list[str], e: dict[str, Any]) -> None:
    """Put a part in its place on the page, where the others stay; what no part is called goes."""
    found = dict(_sections(page.read_text(encoding="utf-8"))) if page.exists() else {}
    found[title] = "\n".join(lines)
    parts = [found[known].rstrip() for known in TITLES.values() if known in found]
    page.write_text("\n\n".join(["# Benchmarks", "\n".join(_machine(e)), *parts]) + "\n", encoding="utf-8")


def _sections(text: str) -> list[tuple[str, str]]:
    """Titles, and the text from each to the next."""
    return [(part.partition("\n")[0], f"## {part}") for part in f"\n{text}".split("\n## ")[1:]]


def smollm2() -> Path | None:
    """The released model on this machine, if it is here."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo" / NAME
    file = Path(os.environ.get("ZOO_SMOLLM2") or cache)
    return file if file.is_file() else None


def _machine(e: dict[str, Any]) -> list[str]:
    return [
        "Made by `python tools/bench/run.py --write docs/benchmarks.md`, part by part; below each stands when, and at",
        "which commit. Every ratio comes from one run in which both sides take turns, on the same weights and the same",
        "work; after the median come the smallest and the largest of the turns. Above 1 zoo is faster.",
        "",
        f"{e['processor']}, {e['cores']} cores, threads: {e['threads']}, CPU · Python {e['python']} · "
        f"torch {e['torch']} · transformers {e.get('transformers', 'none')} · zoo {e['zoo']}",
    ]


if __name__ == "__main__":
    main()
