"""The parent's side of a benchmark's child: one process, or one for each rank that the model is cut over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from select import select
from types import TracebackType
from typing import Any, Self

from zoo.errors import UsageError, ZooError, clean
from zoo.measurement.speed.job import Job
from zoo.parallel.processes import seat

MODULE = "zoo.measurement.speed.worker"
PATIENCE = 5  # seconds that other ranks have to say what went wrong, when one is gone


class Process:
    """A job in a process of its own, or in several, started on entry; it does nothing between two runs."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._workers = [_Worker(variables) for variables in _seats(job.layout.num_ranks)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.end(is_late=kind is not None)

    def load(self) -> dict[str, Any]:
        """Load the model. Raises ZooError for whatever keeps it from loading."""
        return self._ask(self.job.to_dict())

    def run(self) -> dict[str, Any]:
        """One run's timing, of the first rank."""
        return self._ask("run")

    def end(self) -> dict[str, Any]:
        """The memory it took, the first rank of several; the process is over then."""
        return self._ask("end")

    def _ask(self, value: Any) -> dict[str, Any]:
        for worker in self._workers:
            worker.tell(value)
        answers = self._answers() if len(self._workers) > 1 else {0: self._workers[0].answer()}
        if any(answer is None or "error" in answer for answer in answers.values()):
            raise self._wrong(answers)
        first = answers[0]
        assert first is not None
        return first

    def _answers(self) -> dict[int, dict[str, Any] | None]:
        """Those of all ranks; where one tells an error or is gone, those that come within a few seconds of that."""
        answers: dict[int, dict[str, Any] | None] = {}
        until: float | None = None  # None: nothing went wrong so far
        while len(answers) < len(self._workers) and (until is None or time.monotonic() < until):
            left = {worker.stream: rank for rank, worker in enumerate(self._workers) if rank not in answers}
            for stream in select([*left], [], [], None if until is None else 0.1)[0]:
                answers[left[stream]] = answer = self._workers[left[stream]].answer()
                if until is None and (answer is None or "error" in answer):
                    until = time.monotonic() + PATIENCE
        return answers

    def _wrong(self, answers: Mapping[int, dict[str, Any] | None]) -> ZooError:
        """What went wrong: a rank that was ended, or what one says of itself, or what a rank says of another."""
        gone = {rank: self._workers[rank].code() for rank, answer in answers.items() if answer is None}
        killed = {rank: code for rank, code in gone.items() if code < 0}
        if killed and len(self._workers) > 1:
            rank, code = next(iter(killed.items()))
            return ZooError(f"rank {rank} was ended by {signal.Signals(-code).name}, and with it all others")
        said = [answer["error"] for _, answer in sorted(answers.items()) if answer and "error" in answer]
        if said:
            told = next((error for error in said if not error["what"].startswith("rank ")), said[0])
            kind = UsageError if told["exit_code"] == UsageError.exit_code else ZooError
            error = kind(told["what"], why=told["why"], hint=told["hint"])
            error.exit_code = told["exit_code"]
            return error
        if -signal.SIGKILL in gone.values():
            return ZooError("the system ended the benchmark", why="most likely there is not enough memory")
        rank, code = next(iter(gone.items()))
        why = self._workers[rank].last_words()
        return ZooError(f"the benchmark of {self.job.engine} ended with code {code}", why=why)


class _Worker:
    """One child process."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  its stderr, closed at its end
        # -P: a module that lies in the folder at hand must not be taken for a library.
        words = [sys.executable, "-P", "-m", MODULE]
        self._child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, encoding="utf-8",
            env={**os.environ, **variables},
        )  # fmt: skip

    @property
    def stream(self) -> Any:
        """Where its answers come from."""
        return self._child.stdout

    def tell(self, value: Any) -> None:
        """Send a value; one that is gone hears nothing, and its answer will be none."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(value) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass

    def answer(self) -> dict[str, Any] | None:
        """The next answer; None: it ended without one."""
        line = self.stream.readline()
        return json.loads(line) if line else None

    def code(self) -> int:
        """Its exit code."""
        return self._child.wait()

    def last_words(self) -> str:
        """The last line that it wrote beside its answers."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return clean(lines[-1], 300) if lines else ""

    def end(self, *, is_late: bool) -> None:
        """Let it end, or end it."""
        if is_late:
            self._child.kill()
        self._child.communicate()
        self._said.close()


def _seats(count: int) -> list[dict[str, str]]:
    """What to add to the environment of each child: nothing for one alone, or where this process is a rank itself."""
    if count == 1 or seat() is not None:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(max(1, (os.cpu_count() or 1) // count))
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if "OMP_NUM_THREADS" not in os.environ:
        common["OMP_NUM_THREADS"] = threads
    return [{"RANK": str(rank), "LOCAL_RANK": str(rank), **common} for rank in range(count)]
