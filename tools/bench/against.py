"""Two checkouts of zoo in turns: what a change made faster or slower.

Each is installed into a folder of its own, without its dependencies, which both take from this environment.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from turns import alternate, ratio, spread, table

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5
SHAPE = "smollm2-135m"
BEGIN = "import time, torch, zoo; torch.manual_seed(0); clock = time.perf_counter; "
MODEL = BEGIN + f"m = zoo.build('{SHAPE}', device='cpu', dtype='float32').eval(); t = torch.arange(512)[None]; "
PASSES = {  # what a child prints last is seconds
    "load tiny": BEGIN + "zoo.load('tiny'); s = clock(); zoo.load('tiny'); print(clock() - s)",
    f"prefill 512 of {SHAPE}, float32": MODEL
    + "f = torch.inference_mode()(lambda: m(t, last=True)); f(); s = clock(); f(); print(clock() - s)",
    f"decode 16 of {SHAPE}, float32": MODEL
    + "f = lambda n: zoo.generate(m, [1, 2, 3], max_new_tokens=n, eos_token_id=[]); f(2); s = clock(); f(16); "
    "print(clock() - s)",
    "decode 64 of tiny": BEGIN
    + "m = zoo.load('tiny', dtype='float32'); f = lambda n: zoo.generate(m, [1, 2, 3], max_new_tokens=n, "
    "eos_token_id=[]); f(2); s = clock(); f(64); print(clock() - s)",
    f"convert {SHAPE}, bfloat16": BEGIN
    + f"import tempfile; d = tempfile.mkdtemp(); zoo.save(zoo.build('{SHAPE}', device='cpu', dtype='bfloat16'), "
    "d + '/a'); s = clock(); zoo.convert(d + '/a', d + '/b'); print(clock() - s); import shutil; shutil.rmtree(d)",
}
COMMANDS = {  # user and system time of a process
    "zoo list": "from zoo.cli import main; main(['list'])",
    "zoo show llama3": "from zoo.cli import main; main(['show', 'llama3'])",
    "import zoo": "import zoo",
}


def report(revision: str) -> list[str]:
    """Seconds of this checkout and of `revision`, and how many times this one is as fast."""
    with TemporaryDirectory(prefix="zoo-bench-") as home:
        now, then = installed(ROOT, Path(home, "now")), installed(checked_out(revision, Path(home)), Path(home, "then"))
        rows = []
        for name, code in (COMMANDS | PASSES).items():
            measure = cpu_seconds if name in COMMANDS else seconds
            sides = alternate(turn(measure, code, now), turn(measure, code, then), repeats=REPEATS)
            rows.append([name, *(spread(side, "ms", 1000) for side in sides), ratio(*sides)])
    head = ["", "this checkout", revision, "this one is faster by"]
    return [f"## Against {revision}", "", "Commands in CPU time, all else in wall time.", "", *table(head, rows)]


def checked_out(revision: str, home: Path) -> Path:
    """The files of a revision in a folder of their own."""
    folder = home / "source"
    folder.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x"], cwd=folder, input=archive, check=True)
    return folder


def installed(source: Path, folder: Path) -> Path:
    """What pip makes of a checkout, alone in `folder`."""
    words = ["install", "-q", "--no-deps", "--target", str(folder), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return folder


def turn(measure: Callable[[str, Path], float], code: str, folder: Path) -> Callable[[], float]:
    """One turn of one side."""
    return lambda: measure(code, folder)


def seconds(code: str, folder: Path) -> float:
    """The number that a piece of Python prints last, run with the zoo of `folder`."""
    return float(_run(code, folder).split()[-1])


def cpu_seconds(code: str, folder: Path) -> float:
    """User and system time of a process with the zoo of `folder`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(code, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(code: str, folder: Path) -> str:
    words = [sys.executable, "-P", "-W", "ignore", "-c", code]
    place = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(words, check=True, capture_output=True, text=True, env=place, cwd=folder).stdout
