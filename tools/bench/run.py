#!/usr/bin/env python3
"""The benchmarks of docs/benchmarks.md: ratios, each measured in one run with both sides taking turns.

    tools/bench/run.py [--only load,speed,window,startup,packed,cache] [--write docs/benchmarks.md]
    tools/bench/run.py --against REV: this checkout and another of zoo instead

Needs transformers. SmolLM2-135M takes part where tools/fetch_smollm2.py or $ZOO_SMOLLM2 has put it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import against
import cache
import load
import packed
import speed
import startup
import window

from zoo.measurement.environment import environment

PARTS = {"startup": startup, "load": load, "speed": speed, "window": window, "packed": packed, "cache": cache}
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Run the parts and print, or write, the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--write", type=Path, help="the page to write")
    parser.add_argument("--against", metavar="REV", help="a revision of zoo to take turns with, instead of the page")
    parser.add_argument("--remark", default="", help="a sentence about the machine, such as what else ran on it")
    arguments = parser.parse_args()
    lines = ["# Benchmarks", "", *_machine(arguments.remark)]
    if arguments.against:
        print("\n".join(against.report(arguments.against)))
        return
    for name in arguments.only.split(","):
        print(f"running {name}", file=sys.stderr)
        lines += ["", *PARTS[name].report(smollm2())]
    text = "\n".join(lines) + "\n"
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    else:
        print(text)


def smollm2() -> Path | None:
    """The released model on this machine, if it is here."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo" / NAME
    file = Path(os.environ.get("ZOO_SMOLLM2") or cache)
    return file if file.is_file() else None


def _machine(remark: str) -> list[str]:
    e = environment()
    return [
        "Made by `python tools/bench/run.py --write docs/benchmarks.md`. Every ratio comes from one run in which",
        "both sides take turns, on the same weights and the same work; after the median come the smallest and the",
        "largest of the turns. Above 1 zoo is faster.",
        "",
        f"{e['processor']}, {e['cores']} cores, threads: {e['threads']}, CPU · Python {e['python']} · "
        f"torch {e['torch']} · transformers {e.get('transformers', 'none')} · "
        f"zoo {e['zoo']} at {e['commit'] or 'no commit'}",
        *(["", remark] if remark else []),
    ]


if __name__ == "__main__":
    main()
