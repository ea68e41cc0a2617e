"""One change at a time in the copy, and the tests that could notice it."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from edits import Change
from record import HERE, Test

COMMON = (
    "pytest",
    "hypothesis",
    "torch",
    "numpy",
    "hydra",
    "omegaconf",
    "rich",
    "tokenizers",
    "jinja2",
    "transformers",
)
WORDS = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "watch"]


class Trial:
    """A copy of the working tree and the tests that pass in it."""

    def __init__(self, scratch: Path, tests: Sequence[Test], given: argparse.Namespace) -> None:
        self.scratch, self.tests, self.slow_seconds = scratch, tests, given.slow_seconds
        os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
        os.environ["PYTHONPATH"] = f"{scratch}{os.pathsep}{HERE}"  # for what the tests start
        for name in COMMON:  # imported once: each trial is a fork
            import_module(name)
        assert "zoo" not in sys.modules
        self._check_that_the_copy_is_what_runs()

    def outcome(self, path: str, change: Change) -> tuple[str, str]:
        """Caught fast, caught slow, lives, or untested; and by which test, or how many looked."""
        tests = sorted(self._those_that_run(path, change.scope), key=lambda test: len(test.ran))
        file = self.scratch / path
        source = file.read_bytes()
        self._write(file, source[: change.start] + change.text.encode() + source[change.end :])
        try:
            for kind, slow in (("fast", False), ("slow", True)):
                if by := self._noticed(self._within([test for test in tests if test.slow == slow], slow)):
                    return f"caught {kind}", by
        finally:
            self._write(file, source)
        return ("LIVES" if tests else "UNTESTED"), f"{len(tests)} tests"

    def _those_that_run(self, path: str, scope: str) -> list[Test]:
        """By function; what runs at import belongs to all that use the module, or those that name it, or its folder."""
        if scope:
            return [test for test in self.tests if f"{path}:{scope}" in test.ran]
        for starts in ([f"{path}:"], self._those_that_name(path), [f"{Path(path).parent}/"]):
            if found := [test for test in self.tests if any(name.startswith(tuple(starts)) for name in test.ran)]:
                return found
        return []

    def _those_that_name(self, path: str) -> list[str]:
        """The modules that import one, or name it for later: a table, a constant or a record has no function to run."""
        parts = Path(path).with_suffix("").parts
        name = ".".join(parts if parts[0] == "zoo" else ("zoo", *parts)).removesuffix(".__init__")
        files = [file for part in ("zoo", "plugins") for file in (self.scratch / part).rglob("*.py")]
        return [f"{file.relative_to(self.scratch)}:" for file in files if name in file.read_text(encoding="utf-8")]

    def _within(self, tests: list[Test], is_slow: bool) -> list[Test]:
        kept, left = [], self.slow_seconds if is_slow else float("inf")
        for test in tests:
            if test.seconds <= left:
                kept.append(test)
                left -= test.seconds
        return kept

    def _noticed(self, tests: list[Test]) -> str:
        """The first test that fails, or that hangs; empty where all pass."""
        if not tests:
            return ""
        order, log = self.scratch.parent / "order", self.scratch.parent / "log"
        order.write_text("\n".join(test.name for test in tests), encoding="utf-8")
        child = os.fork()
        if child == 0:
            self._run(order, log, sorted({test.file for test in tests}))
        status = _waited(child, 60 + 4 * sum(test.seconds for test in tests))
        if status is None:
            return "it hangs"
        if status == 0:
            return ""
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", log.read_text(encoding="utf-8"), re.MULTILINE)
        return failed[0] if failed else f"pytest's exit code {status}"

    def _run(self, order: Path, log: Path, files: list[str]) -> None:
        os.setsid()
        os.chdir(self.scratch)
        os.environ["MUTATION_ORDER"] = str(order)
        sys.path[:0] = [str(self.scratch)]
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = 3
        try:
            code = int(import_module("pytest").main([*WORDS, *files]))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _write(self, file: Path, source: bytes) -> None:
        """Past its compiled form, which is told from it by the second and the size only."""
        for old in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            old.unlink()
        file.write_bytes(source)

    def _check_that_the_copy_is_what_runs(self) -> None:
        """In a process that a test starts, and in this one."""
        code = "import zoo, zoo.plugins.llama as llama; print(zoo.__file__, llama.__file__)"
        for path in subprocess.check_output([sys.executable, "-c", code], text=True, cwd="/").split():
            assert path.startswith(f"{self.scratch}/"), f"{path} is what runs"
        file = self.scratch / "zoo" / "__init__.py"
        source = file.read_bytes()
        self._write(file, b"raise ImportError('changed')\n")
        seen = self._noticed([test for test in self.tests if test.file == "tests/nn/test_norm.py" and not test.slow])
        self._write(file, source)
        assert seen, "the tests do not see a change of the copy"


def _waited(child: int, limit: float) -> int | None:
    """The exit code of a child, or None where it had to be ended."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
