"""The parent's side of a benchmark's child process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any, Self

from zoo.errors import UsageError, ZooError, clean
from zoo.measurement.speed.job import Job

MODULE = "zoo.measurement.speed.worker"


class Process:
    """A job in a process of its own, started on entry; it does nothing between two runs."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  its stderr, closed on exit
        # -P: a module that lies in the folder at hand must not be taken for a library.
        words = [sys.executable, "-P", "-m", MODULE]
        self._child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, encoding="utf-8"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self._child.kill()
        self._child.communicate()
        self._said.close()

    def load(self) -> dict[str, Any]:
        """Load the model. Raises ZooError for whatever keeps it from loading."""
        return self._ask(self.job.to_dict())

    def run(self) -> dict[str, Any]:
        """One run's timing."""
        return self._ask("run")

    def end(self) -> dict[str, Any]:
        """The memory it took; the process is over then."""
        return self._ask("end")

    def _ask(self, value: Any) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(value) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if told := answer.get("error"):
            kind = UsageError if told["exit_code"] == UsageError.exit_code else ZooError
            error = kind(told["what"], why=told["why"], hint=told["hint"])
            error.exit_code = told["exit_code"]
            raise error
        return answer

    def _died(self) -> ZooError:
        code = self._child.wait()
        if code == -9:
            return ZooError("the system ended the benchmark", why="most likely there is not enough memory")
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return ZooError(
            f"the benchmark of {self.job.engine} ended with code {code}", why=clean(lines[-1], 300) if lines else ""
        )
