"""Use hostile presets, each in a forked process: what it did, said, and took. Prints a line of JSON for each.

python -m tests.hostile.run FOLDER --count 300 --seed 9
"""

from __future__ import annotations

import argparse
import gc
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
from zoo.registry import installed

SECONDS = 20  # of the clock, after which a case hangs
SLOW = 0.8  # seconds
NEEDS_TORCH = 71  # how a child ends that would have to import it
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
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(SECONDS)
    try:
        return os.wait4(child, 0)
    finally:
        signal.alarm(0)


def _use(case: Case, place: Path) -> None:
    """In the child: as the command line does."""
    out = os.open(place.parent / f"{place.name}.said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 70
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _WithoutTorch())
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


class _WithoutTorch:
    """Ends the child that would import torch, for a second each: it is made again where torch is there already."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "torch":
            os._exit(NEEDS_TORCH)


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
    for name in ("building", "completion", "build", "ranks", "own_presets", "list", "show", "compare", "bench"):
        import_module(f"zoo.cli.{name}")
    for name in ("zoo.comparison", "packaging.requirements", *["torch"] * needs_torch):
        import_module(name)
    installed()  # imports our plugins; each child asks for them anew, and for the stranger's
    installed.cache_clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--light", action="store_true", help="only what needs no torch")
    given = parser.parse_args()
    os.environ["HOME"] = str(given.folder / "home-that-is-secret")
    os.environ["HF_HUB_OFFLINE"] = "1"
    tried = [Case("harmless", {"model/case.yaml": GOOD}), *itertools.islice(cases(given.seed), given.count)]
    if given.light:
        tried = [replace(case, door=LIGHT.get(case.door, case.door)) for case in tried]
    found: dict[int, dict[str, Any]] = {}
    for needs_torch in (False, True):  # most are refused without it, by copies of a smaller process
        rest = [i for i in range(len(tried)) if i not in found]
        warm(needs_torch=needs_torch and bool(rest))
        gc.freeze()  # what is shared stays shared: no child walks through it
        idle_mebibytes.cache_clear()
        told = ((i, _least(tried[i], given.folder / str(i))) for i in rest)
        found |= {i: each for i, each in told if needs_torch or each["code"] != NEEDS_TORCH}
    for i in sorted(found):
        print(json.dumps(found[i]))


def _least(case: Case, place: Path) -> dict[str, Any]:
    """What became of the case; if it was slow, on a busy machine perhaps, the lesser of two counts."""
    told = _tried(case, place)
    if told["seconds"] > SLOW:
        again = _tried(case, place.with_name(f"{place.name}b"))
        told |= {key: min(told[key], again[key]) for key in ("seconds", "wall", "mebibytes")}
    return told


def _tried(case: Case, place: Path) -> dict[str, Any]:
    place.mkdir(parents=True)
    try:
        return used(case, place)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
