"""What room this process has: memory, and whether a large library starts where the address space is limited.

Who has too little of either may be ended by the system, without a word.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

LARGE = ("numpy", "torch")  # each needs those before it
ENOUGH = 16 << 30  # bytes, in which the largest build of torch starts
MEMINFO = Path("/proc/meminfo")
CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
TRY = "import os, sys; __import__(sys.argv[1]); os._exit(0)"


def watch() -> None:
    """Have large libraries tried in a child before they are imported, where the address space is limited."""
    if 0 <= resource.getrlimit(resource.RLIMIT_AS)[0] < ENOUGH:
        finder: Any = Room()
        sys.meta_path.insert(0, finder)


def memory_bytes() -> int | None:
    """Bytes that all processes here may fill together, with swap; None where the system does not tell."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        told = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        found = told["MemTotal"] + told["SwapTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        try:
            found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None
    return min([found, *(limit for path in CONTAINER if (limit := _limit(path)) is not None)])


def _limit(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # `max`: none
        return None


class Room:
    """Stands before Python's own finders, and finds nothing."""

    def __init__(self) -> None:
        self.tried: set[str] = set()

    def find_spec(self, name: str, *where: object) -> None:
        """None. Raises ZooError for a large library that does not start."""
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if name not in LARGE or name in self.tried or not 0 <= limit < ENOUGH:
            return
        self.tried.update(LARGE[: LARGE.index(name) + 1])
        if not starts(name):
            what = f"{name} cannot start: this process may use only {limit >> 20:,} MiB of address space"
            raise ZooError(what, hint="allow more: ulimit -v unlimited")


def starts(name: str) -> bool:
    """Whether a child can import a library; one that is not installed is no matter of room."""
    import subprocess

    try:
        words = [sys.executable, "-c", TRY, name]
        child = subprocess.run(words, capture_output=True, timeout=60, check=False)
    except (OSError, MemoryError, subprocess.TimeoutExpired):
        return False
    return child.returncode == 0 or b"ModuleNotFoundError" in child.stderr
