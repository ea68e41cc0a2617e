"""How fast a model reads and writes, and what memory it takes: in processes of their own, taking turns in one run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, ZooWarning
from zoo.measurement.speed.job import ENGINES, Job
from zoo.measurement.speed.process import Process
from zoo.parallel.layout import of_words
from zoo.parallel.processes import seat

if TYPE_CHECKING:
    import torch

REPEATS = 5


@dataclass(frozen=True)
class Benchmark:
    """What one run of a benchmark found; rates are tokens per second over all rows of the batch."""

    name: str
    job: Job
    models: list[dict[str, Any]]  # zoo first, then what it is held against
    ratios: dict[str, dict[str, float]]  # prefill, decode: how many times zoo is as fast; empty without a rival
    same_tokens: float | None  # share of the greedy tokens that both said
    environment: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        job = self.job
        return {
            "model": self.name,
            **({"parallel": job.parallel} if job.layout.num_ranks > 1 else {}),
            "weights": job.source or f"random, seed {job.seed}",
            "is_random": job.source is None,
            **{name: getattr(job, name) for name in ("prompt", "new", "batch", "device")},
            "repeats": len(self.models[0]["runs"]),
            "models": self.models,
            "ratios": self.ratios,
            "same_tokens": self.same_tokens,
            "environment": self.environment,
        }


def bench(
    model: str,
    *overrides: str,
    prompt: int = 128,
    new: int = 64,
    batch: int = 1,
    repeats: int = REPEATS,
    device: str = "cpu",
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    against: str | None = None,
    quantize: str | None = None,
    keep_packed: bool = False,
    compile: bool = False,
) -> Benchmark:
    """Time a checkpoint, or a preset with random weights: bench("tiny"), bench("llama3", "model.num_layers=2").

    `against="transformers"` runs the same model there, turn by turn with ours, and `compile` compiles our steps of one
    token, before the runs that count. Words such as `parallel.tp=2` cut the model over as many processes; what is told
    of memory and cache is then one rank's. Raises UsageError or ZooError for what cannot be run.
    """
    dtype = str(dtype).removeprefix("torch.") if dtype else None
    numbers: dict[str, Any] = {
        "prompt": prompt, "new": new, "batch": batch, "device": device, "dtype": dtype, "seed": seed,
        "quantize": quantize, "packed": keep_packed,
        "compile": compile,
    }  # fmt: skip
    layout, timeout, overrides = of_words(overrides)
    numbers |= {"parallel": vars(layout), "timeout": timeout}
    if is_source(model, overrides):
        job = Job(model, overrides=overrides, **numbers)
    else:
        from zoo.presets.composition import compose

        job = Job(config=compose(model, *overrides).to_dict(), **numbers)
    return duel(model, job, repeats=repeats, against=against)


def is_source(model: str, overrides: Sequence[str] = ()) -> bool:
    """Whether a name stands for weights: one that is no preset, or a preset in the box as it stands."""
    from zoo.presets import in_the_box
    from zoo.registry import installed

    if model not in installed().presets():
        return True
    return model in in_the_box() and not overrides


def duel(
    name: str,
    job: Job,
    *,
    repeats: int = REPEATS,
    against: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Benchmark:
    """Run a job, and the same with another library in between if asked, after a first run of each that does not count.

    One process works while the others wait, so that what else the machine does falls on both alike.
    """
    if repeats < 1:
        raise UsageError(f"repeats={repeats} is not at least 1")
    if against is not None and against not in ENGINES[1:]:
        raise UsageError(f"against={against!r} is not known", hint=f"one of {', '.join(ENGINES[1:])}")
    if against is not None and (job.layout.num_ranks > 1 or seat() is not None):
        raise UsageError(f"{against} runs in one process", hint="leave out against=, or parallel.*")
    say = tell or (lambda text: None)
    with ExitStack() as stack:
        say(f"loading {name}")
        processes = [stack.enter_context(Process(job))]
        facts = [processes[0].load()]
        for note in facts[0]["notes"]:
            warnings.warn(note, ZooWarning, stacklevel=3)
        if against is not None:
            say(f"loading {name} in {against}")
            plain = replace(job, compile=False, quantize=None, packed=False)
            rival = replace(plain, engine=against, dtype=facts[0]["dtype"])  # one precision on both sides
            processes.append(stack.enter_context(Process(rival)))
            facts.append(processes[1].load())
        for process in processes:
            process.run()
        runs: list[list[dict[str, Any]]] = [[] for _ in processes]
        for repeat in range(repeats):
            say(f"run {repeat + 1} of {repeats}")
            for found, process in zip(runs, processes, strict=True):
                found.append(process.run())
        memory = [process.end() for process in processes]
    models = [_told(p.job, f, r, m) for p, f, r, m in zip(processes, facts, runs, memory, strict=True)]
    from zoo.measurement.environment import environment

    return Benchmark(name, job, models, _ratios(runs), _same(job, runs), environment(job.device))


def _told(job: Job, facts: dict[str, Any], runs: list[dict[str, Any]], memory: dict[str, Any]) -> dict[str, Any]:
    seconds = memory.pop("compile_seconds", None)
    return {
        **({} if seconds is None else {"compile_seconds": seconds}),
        "engine": job.engine,
        "dtype": facts["dtype"],
        "parameters": facts["parameters"],
        "prefill": spread([job.batch * job.prompt / run["first_token"] for run in runs]),
        "decode": spread([job.batch * job.new / run["decode"] for run in runs]),
        "first_token": spread([run["first_token"] for run in runs]),
        "memory": memory,
        "cache": {"bytes": runs[-1]["cache_bytes"], "formula_bytes": facts["formula_bytes"]},
        "runs": [{"first_token": run["first_token"], "decode": run["decode"]} for run in runs],
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the least and the most."""
    return {"median": median(values), "least": min(values), "most": max(values)}


def _ratios(runs: list[list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Turn by turn, the other's seconds for ours."""
    if len(runs) < 2:
        return {}
    pairs = list(zip(*runs, strict=True))
    keys = {"prefill": "first_token", "decode": "decode"}
    return {name: spread([theirs[key] / ours[key] for ours, theirs in pairs]) for name, key in keys.items()}


def _same(job: Job, runs: list[list[dict[str, Any]]]) -> float | None:
    """The share of tokens that both said; None for random weights, which are not the same on both sides."""
    if len(runs) < 2 or job.source is None:
        return None
    ours, theirs = (found[-1]["tokens"] for found in runs)
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours)
