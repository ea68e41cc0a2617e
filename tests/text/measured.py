"""Runs what may hang, panic or eat the memory: each case in a copy of this process, with its seconds and bytes told.

`python -m tests.text.measured MODULE KIND` runs what cases(KIND) of a module gives.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 20  # after which a case is ended: its test has failed long before


def measure(module: str, kind: str) -> dict[str, dict[str, Any]]:
    """What came of the cases of a kind, QUICK or HEAVY: what it said, its seconds of CPU, and its MB above idle."""
    command = [sys.executable, "-m", "tests.text.measured", module, kind]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out)


def run(case: Callable[[], Callable[[], str]]) -> dict[str, Any]:
    """`case` writes its files and returns what is to be measured."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(case, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        data = told.read()
    _, status = os.waitpid(child, 0)
    return (
        json.loads(data) if data else {"said": f"ended by signal {os.WTERMSIG(status)}", "seconds": 0, "megabytes": 0}
    )


def _child(case: Callable[[], Callable[[], str]], writer: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        work = case()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        idle, begin = _kilobytes("VmRSS"), sum(os.times()[:4])
        try:
            said = work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        told = {"said": said[:2000], "seconds": sum(os.times()[:4]) - begin}
        told["megabytes"] = (_kilobytes("VmHWM") - idle) / 1024
        os.write(writer, json.dumps(told).encode())
    finally:
        os._exit(0)


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    os.environ["RUST_BACKTRACE"] = "0"
    cases = importlib.import_module(sys.argv[1]).cases(sys.argv[2])
    gc.freeze()  # what is shared stays shared: no child walks through it
    json.dump({name: run(case) for name, case in cases.items()}, sys.stdout)
