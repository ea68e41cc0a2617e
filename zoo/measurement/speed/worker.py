"""The child process of a benchmark: one model, alone with its memory. Reads a JSON value a line, and answers in kind.

First comes a job, then `"run"` for each run, then `"end"`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import IO, Any

from zoo import address_space as room
from zoo.errors import ZooError, ZooWarning


def main() -> None:
    """Serve the parent until it ends the work or goes away."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    room.watch()
    try:
        _serve(answers)
    except ZooError as error:
        told = {"what": error.what, "why": error.why, "hint": error.hint, "exit_code": error.exit_code}
        _say(answers, {"error": told})
    if "torch" in sys.modules:
        _leave()


def _leave() -> None:
    """End what goes on between ranks."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _serve(answers: IO[str]) -> None:
    import torch

    from zoo.measurement.speed.job import Job, prompt_of, run
    from zoo.measurement.speed.memory import peak, peak_bytes

    job = Job.from_dict(json.loads(sys.stdin.readline()))
    kind = _runner(job.engine)
    baseline = peak_bytes()  # torch and Python, and no model yet
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ZooWarning)
        runner = kind(job)
    notes = [str(w.message) for w in caught if issubclass(w.category, ZooWarning)]
    prompt = prompt_of(job, runner.vocab_size, runner.markers)
    _say(
        answers,
        {
            "dtype": runner.dtype,
            "parameters": runner.parameters,
            "formula_bytes": runner.formula_bytes(),
            "notes": notes,
        },
    )
    for line in sys.stdin:
        if json.loads(line) == "end":
            told = {"compile_seconds": getattr(runner, "compile_seconds", None)}
            _say(answers, peak(torch.device(job.device), baseline) | told)
            return
        _say(answers, run(runner, prompt, job.new).to_dict())


def _runner(engine: str) -> Any:
    """The class that runs an engine's models, its library imported."""
    if engine == "transformers":
        from zoo.measurement.speed.theirs import TransformersRunner

        return TransformersRunner
    from zoo.measurement.speed.own import ZooRunner

    return ZooRunner


def _say(answers: IO[str], value: Any) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
