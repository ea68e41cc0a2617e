"""Use hostile presets, each in a forked process: what it did, said, and took. Prints a line of JSON for each.

python -m tests.hostile.run FOLDER --count 300 --seed 9
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from tests.hostile.acting import acting
from tests.hostile.case import CANARY, DOORS, GOOD, IS_PLUGIN, SECRET, Case, write
from tests.hostile.exhausting import exhausting

SECONDS = 20  # of the clock, after which a case hangs
SLOW = 0.8  # seconds
LIGHT = {"build": "cfg", "sweep": "cfg", "bench": "cfg", "plugin build": "show"}


def cases(seed: int) -> Iterator[Case]:
    """Half that would act and half that would exhaust or lead out."""
    random = Random(seed)
    return itertools.chain.from_iterable(zip(acting(random), exhausting(random), strict=True))


def used(case: Case, place: Path) -> dict[str, Any]:
    """Write the case below `place`, use it in a child of this process, and tell what became of it."""
    write(case, place)
    before = listing(place)
    start = time.monotonic()
    if (child := os.fork()) == 0:
        _use(case, place)
    _, status, usage = _wait(child)
    seconds = usage.ru_utime + usage.ru_stime
    said = (place.parent / f"{place.name}.said").read_text(errors="surrogateescape")
    made = sorted(listing(place) - before)
    expected = ("here/own", "here/multirun") if case.door == "sweep" else ("here/own",)
    return {
        "name": case.name,
        "door": case.door,
        "code": os.waitstatus_to_exitcode(status),
        "seconds": round(seconds, 3),
        "wall": round(time.monotonic() - start, 3),
        "mebibytes": (usage.ru_maxrss >> 10) - idle_mebibytes(),
        "made": [path for path in made if not path.startswith(expected) and path != "here"],
        "said": said,
        "leaked": SECRET in said or os.environ["HOME"] in said or (place / CANARY).exists(),
    }


@cache
def idle_mebibytes() -> int:
    """What a child holds that does nothing: the pages written to, not libraries that it never touched."""
    if (child := os.fork()) == 0:
        os._exit(0)
    return os.wait4(child, 0)[2].ru_maxrss >> 10


def listing(place: Path) -> set[str]:
    """What lies below a folder."""
    return {
        os.path.relpath(os.path.join(at, name), place)
        for at, *names in os.walk(place)
        for name in itertools.chain(*names)
    }


def _wait(child: int) -> tuple[int, int, resource.struct_rusage]:
    end = time.monotonic() + SECONDS
    while True:
        done = os.wait4(child, os.WNOHANG)
        if done[0]:
            return done
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            return os.wait4(child, 0)
        time.sleep(0.002)


def _use(case: Case, place: Path) -> None:
    """In the child: as the command line does."""
    out = os.open(place.parent / f"{place.name}.said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 70
    try:
        here = place / "here"
        here.mkdir()
        os.chdir(here)
        if case.door not in IS_PLUGIN:
            (here / "own").symlink_to("../own")
        sys.path.insert(0, str(place / "site"))
        sys.dont_write_bytecode = True
        from zoo.cli import main

        sys.argv = ["zoo", *_words(case)]
        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1 if left.code else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _words(case: Case) -> list[str]:
    """What the user types; for completion, what the shell tells in its place."""
    first, *rest = case.words
    if case.door == "complete":
        os.environ |= {"_ZOO_COMPLETE": "bash_complete", "ZOO_LINE": f"zoo build {first} ", "ZOO_WORD": ""}
    typed = {
        "complete": [],
        "list": [],
        "compare": ["tiny", shlex.join(case.words)],
        "bench": [f"model={first.removeprefix('model=')}", *rest],
    }
    return [*DOORS[case.door], *typed.get(case.door, case.words)]


def warm(*, needs_torch: bool) -> None:
    """Import what the cases need, so that a child's cost is the case's own."""
    for name in ("cli", "cli.building", "cli.completion", "comparison"):
        import_module(f"zoo.{name}")
    if needs_torch:
        import_module("torch")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--light", action="store_true", help="only what needs no torch")
    given = parser.parse_args()
    os.environ["HOME"] = str(given.folder / "home-that-is-secret")
    os.environ["HF_HUB_OFFLINE"] = "1"
    warm(needs_torch=not given.light)
    harmless = Case("harmless", {"model/case.yaml": GOOD})
    for i, case in enumerate([harmless, *itertools.islice(cases(given.seed), given.count)]):
        case = replace(case, door=LIGHT.get(case.door, case.door)) if given.light else case
        told = _tried(case, given.folder / str(i))
        if told["seconds"] > SLOW:  # a busy machine, perhaps: the lesser of two counts
            again = _tried(case, given.folder / f"{i}b")
            told |= {key: min(told[key], again[key]) for key in ("seconds", "wall", "mebibytes")}
        print(json.dumps(told), flush=True)


def _tried(case: Case, place: Path) -> dict[str, Any]:
    place.mkdir(parents=True)
    try:
        return used(case, place)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
