"""`zoo plan`: the model and the text that a budget of compute is best spent on. Imports no torch."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli import output
from zoo.errors import UnknownName, UsageError, clean
from zoo.planning.cluster import MFU, PEAK, Cluster, Parallelism
from zoo.planning.record import LENGTH, Plan, plan
from zoo.registry import installed
from zoo.units import human_bytes, human_count

EPILOG = """\b
Examples:
  zoo plan FLOPS=3.8e25
  zoo plan gpus=16384 days=54 peak=989e12 mfu=0.4
  zoo plan FLOPS=1e21 gpus=64 model=tinyllama-1.1b tensor=8 length=2048
"""
NUMBERS = ("FLOPS", "gpus", "days", "peak", "mfu")
WHOLE = ("tensor", "pipeline", "context", "length")
KNOWN = (*NUMBERS, *WHOLE, "model", "sharded")


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="FLOPS=N | gpus=N days=N [KEY=VALUE]...")
@click.option("--json", "is_json", is_flag=True, help="Every number as JSON.")
@click.option("--html", "page", type=click.Path(), metavar="FILE", help="Write a page with curves of equal FLOPs.")
def command(words: tuple[str, ...], is_json: bool, page: str | None) -> None:
    """Show which size and how many tokens a budget of training compute is best spent on, and what that needs.

    The budget is FLOPS=3.8e25, or gpus=16384 days=54 at peak=989e12 FLOPs a second each, of which mfu=0.4 is used. By
    Chinchilla's three fits and LLaMA 3's law, with the nearest presets. With gpus= also days, and, cut by tensor=,
    pipeline=, context= and sharded=true|false, bytes on each; model=NAME instead of the nearest preset, length=TOKENS.
    """
    found = plan(**_asked(words))
    if page is not None:
        from zoo.planning.page import page as drawn

        output.write_page(output.html_file(page), drawn(found))
    if is_json:
        output.as_json(found.to_dict())
    elif page is None:
        output.fields(rows(found))


def rows(found: Plan) -> list[tuple[str, str]]:
    """A plan in words, a label and a line each."""
    told = [("Budget", f"{found.budget:.3g} FLOPs")]
    for o in found.optima:
        names = ", ".join(f"{name} ({human_count(count)})" for name, count in found.near[o.law])
        best = f"{human_count(o.parameters)} parameters on {human_count(o.tokens)} tokens ({o.ratio:.0f} each)"
        told.append((o.law.capitalize(), f"{best} · near: {names}"))
    told.append(("Model", f"{found.model}: {human_count(found.tokens)} tokens for the budget, at 6 FLOPs a parameter"))
    if found.days is not None and found.cluster is not None:
        c = found.cluster
        told.append(("Time", f"{found.days:.3g} days on {c.gpus:,} at {c.peak / 1e12:.0f} TFLOP/s × {c.mfu:.0%}"))
    if found.bytes_each is not None:
        what = f"{human_bytes(found.bytes_each)} on each: weights, gradients, AdamW, recomputed activations"
        told.append(("Memory", f"{what} of {found.length:,} tokens · {found.copies:,} copies"))
    return told


def _asked(words: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of `plan`. Raises UsageError for words that are none."""
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.upper() if key.lower() == "flops" else key
        if not equals or not value or key in given:
            hint = f"a model: model={clean(word)}" if word in installed().presets() else "try FLOPS=3.8e25"
            raise UsageError(f"{clean(word)!r} is not KEY=VALUE, once", hint=hint)
        if key not in KNOWN:
            raise UnknownName(f"zoo plan knows no {clean(key)!r}", key, KNOWN)
        given[key] = value
    numbers = {key: _number(key, given[key]) for key in NUMBERS if key in given}
    whole = {key: _whole(key, given[key]) for key in WHOLE if key in given}
    cuts: dict[str, Any] = {key: value for key, value in whole.items() if key != "length"}
    if "sharded" in given:
        cuts["is_sharded"] = _truth(given["sharded"])
    return {
        "budget": numbers.get("FLOPS"),
        "days": numbers.get("days"),
        "cluster": _cluster(given, numbers),
        "model": given.get("model"),
        "layout": Parallelism(**cuts) if cuts or "gpus" in given else None,
        "length": whole.get("length", LENGTH),
    }


def _cluster(given: dict[str, str], numbers: dict[str, float]) -> Cluster | None:
    if "gpus" not in given:
        if lone := [key for key in ("peak", "mfu", "days") if key in given]:
            raise UsageError(f"{lone[0]}= needs gpus=", hint="gpus=16384 days=54")
        return None
    return Cluster(_whole("gpus", given["gpus"]), numbers.get("peak", PEAK), numbers.get("mfu", MFU))


def _number(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{key}={clean(text)} is not a number above 0")
    return value


def _whole(key: str, text: str) -> int:
    value = _number(key, text)
    if value != int(value):
        raise UsageError(f"{key}={clean(text)} is not a whole number")
    return int(value)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"sharded={clean(text)} is neither true nor false")
    return text == "true"
