"""What `zoo bench` does with a composed config: runs the benchmark, and prints one model or a sweep."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from zoo.anatomy.config import typed
from zoo.cli import output, sources
from zoo.cli.building import check_jobs, swept, values_of
from zoo.cli.hydra_front import run_once, run_sweep
from zoo.cli.ranks import silence_others
from zoo.errors import UsageError
from zoo.parallel.layout import GROUP, Layout, of_words
from zoo.parallel.processes import refuse_others, seat
from zoo.presets.composition import checked
from zoo.units import human_bytes, human_count

KINDS: dict[str, Any] = {
    "source": str | None, "prompt": int, "new": int, "batch": int, "repeats": int, "device": str, "dtype": str | None,
    "seed": int, "against": str | None, "quantize": str | None, "packed": bool, "compile": bool,
}  # fmt: skip


def sourced(words: Sequence[str], own: Collection[str] = ()) -> list[str]:
    """The words with the one that stands for weights as `source=...`. Raises UsageError where no model is named."""
    return sources.sourced("bench", words, (*KINDS, GROUP), own)


def one(words: Sequence[str], flags: Sequence[str], *, is_json: bool) -> None:
    """Run one benchmark and print it."""
    silence_others()
    facts = run_once("bench", words, flags, benched)
    if is_json:
        output.as_json(facts)
        return
    ours = facts["models"][0]
    ranks = "" if facts.get("parallel") is None else f" · {Layout(**facts['parallel'])}, of one rank:"
    weights = f"random weights, seed {facts['seed']}" if facts["is_random"] else "its own weights"
    machine = facts["environment"]
    output.note(
        f"{facts['model']} · {human_count(ours['parameters'])} parameters · {ours['dtype']} · {weights} · "
        f"{facts['device']}, threads {machine['threads']} · batch {facts['batch']}, {facts['repeats']} runs{ranks}"
    )
    columns = ["", *(m["engine"] for m in facts["models"])]
    if facts["ratios"]:
        columns.append(f"zoo / {facts['models'][1]['engine']}")
    output.table([output.Column(title) for title in columns], lines(facts))
    if (seconds := ours.get("compile_seconds")) is not None:
        output.note(f"the step of one token is compiled: {seconds:.1f} s")
    if facts["same_tokens"] is not None:
        output.note(f"{facts['same_tokens']:.0%} of the greedy tokens are the same")


def lines(facts: dict[str, Any]) -> list[list[str]]:
    """A row for each thing measured: ours, the other's and the ratio with its spread."""
    found = []
    for name, label in (("prefill", f"prefill {facts['prompt']}"), ("decode", f"decode {facts['new']}")):
        ratio = facts["ratios"].get(name)
        shown = [f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"] if ratio else []
        found.append([label, *(rate(m[name]) for m in facts["models"]), *shown])
    filler = [""] if facts["ratios"] else []
    found.append(["first token", *(f"{1000 * m['first_token']['median']:.3g} ms" for m in facts["models"]), *filler])
    found.append(["peak memory", *(memory(m["memory"]) for m in facts["models"]), *filler])
    return [*found, ["KV cache", *(cache(m["cache"]) for m in facts["models"]), *filler]]


def rate(spread: dict[str, float]) -> str:
    """Tokens per second: the median, and what the runs span."""
    median, least, most = (human_count(spread[key]) for key in ("median", "least", "most"))
    return f"{median} tok/s ({least} to {most})"


def memory(found: dict[str, Any]) -> str:
    """The peak, and what of it is no model's."""
    before = f" ({human_bytes(found['baseline_bytes'])} without a model)" if found["baseline_bytes"] else ""
    return human_bytes(found["peak_bytes"]) + before


def cache(found: dict[str, Any]) -> str:
    """Bytes, and whether the arithmetic says the same."""
    if found["bytes"] is None:
        return "?"
    shown, formula = human_bytes(found["bytes"]), found["formula_bytes"]
    if formula is None:
        return shown
    return f"{shown} (= formula)" if formula == found["bytes"] else f"{shown} (formula: {formula:,} bytes)"


def benched(composed: DictConfig) -> dict[str, Any]:
    """Run what a composed config describes; its numbers as JSON values."""
    from zoo.measurement.speed.benchmark import duel
    from zoo.measurement.speed.job import Job

    given = {name: typed(kind, composed.get(name), name) for name, kind in KINDS.items()}
    layout, timeout = laid_out(composed)
    source, repeats, against = (given.pop(name) for name in ("source", "repeats", "against"))
    if source is not None and composed.get("model") is not None:
        raise UsageError(f"two models: {source} and the preset", hint="name one of them")
    config = None if source is not None else checked(composed, HydraConfig.get().overrides.task).to_dict()
    tell = output.note if sys.stderr.isatty() else None
    name = source or _preset(composed)
    found = duel(
        name,
        Job(source, None, config, parallel=vars(layout), timeout=timeout, **given),
        repeats=repeats,
        against=against,
        tell=tell,
    )
    return found.to_dict() | {"seed": given["seed"], "config": config}


def laid_out(composed: DictConfig) -> tuple[Layout, int | None]:
    """The layout of a composed config, or the one that torchrun or Slurm has made; and how long a rank waits."""
    words = [
        f"{GROUP}.{name}={'null' if value is None else value}" for name, value in (composed.get(GROUP) or {}).items()
    ]
    layout, timeout, _ = of_words(words)
    refuse_others(layout, "zoo bench", ("tp",))
    here = seat()
    return (Layout(tp=here.count) if here is not None and layout.num_ranks == 1 else layout), timeout


def sweep(words: Sequence[str], flags: Sequence[str], *, is_json: bool) -> None:
    """Run every combination, by the launcher that the words choose, and print a line for each."""
    if (here := seat()) is not None and here.count > 1:
        raise UsageError("a sweep starts its processes itself", hint="zoo bench -m ..., without torchrun")
    folder, results = run_sweep("bench", words, flags, benched)
    if is_json:
        output.as_json({"folder": str(folder), "jobs": results})
    else:
        keys = swept(results)
        columns = [output.Column("#", is_number=True), *map(output.Column, keys), *COLUMNS]
        output.table(columns, ([r["job"], *values_of(r, keys), *_numbers(r)] for r in results))
        output.note(f"{len(results)} jobs, each with its config and result.json in {folder}")
    check_jobs(results)


COLUMNS = [
    output.Column("params", human_count, is_number=True),
    output.Column("prefill tok/s", human_count, is_number=True),
    output.Column("decode tok/s", human_count, is_number=True),
    output.Column("peak memory", human_bytes, is_number=True),
    output.Column("KV cache", human_bytes, is_number=True),
    output.Column("prefill ratio", lambda ratio: f"{ratio:.2f}", is_number=True),
    output.Column("decode ratio", lambda ratio: f"{ratio:.2f}", is_number=True),
]


def _numbers(result: dict[str, Any]) -> Iterable[Any]:
    if "error" in result:
        return [None] * len(COLUMNS)
    m, ratios = result["models"][0], result["ratios"]
    rates = [m["prefill"]["median"], m["decode"]["median"]]
    held = [ratios[key]["median"] if ratios else None for key in ("prefill", "decode")]
    return [m["parameters"], *rates, m["memory"]["peak_bytes"], m["cache"]["bytes"], *held]


def _preset(composed: DictConfig) -> str:
    return str(HydraConfig.get().runtime.choices.get("model"))
