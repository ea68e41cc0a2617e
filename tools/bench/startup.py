"""How long the commands that need no torch take, against Python's own start."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from turns import alternate, spread, table

REPEATS = 9
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import zoo'": ["-c", "import zoo"],
    "zoo list": ["-c", "from zoo.cli import main; main(['list'])"],
    "zoo show llama3": ["-c", "from zoo.cli import main; main(['show', 'llama3'])"],
    "zoo show llama3.1-405b": ["-c", "from zoo.cli import main; main(['show', 'llama3.1-405b'])"],
    "zoo show llama3.1-405b quantize=int4": [
        "-c",
        "from zoo.cli import main; main(['show', 'llama3.1-405b', 'quantize=int4'])",
    ],
    "zoo compare gpt2 llama3": ["-c", "from zoo.cli import main; main(['compare', 'gpt2', 'llama3'])"],
}


def report(smollm2: Path | None) -> list[str]:
    """CPU seconds of each command, taking turns."""
    found = alternate(*(lambda words=words: cpu_seconds(words) for words in COMMANDS.values()), repeats=REPEATS)
    bare = min(found[0])
    rows = [
        [f"`{name}`", spread(values, "ms", 1000), f"{1000 * (min(values) - bare):.0f} ms"]
        for name, values in zip(COMMANDS, found, strict=True)
    ]
    about = "CPU time of a whole process, user and system; *above Python's own*: of the quickest turn of each."
    return ["## Start", "", about, "", *table(["command", "CPU", "above Python's own"], rows)]


def cpu_seconds(words: list[str]) -> float:
    """User and system time of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    place = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # the turn that does not count compiles what is new
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=place)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
