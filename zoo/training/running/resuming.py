"""Whether a run can go on: what decides the weights, the rows and their order must be as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import UsageError, clean
from zoo.parallel.layout import Layout
from zoo.training.settings import TrainSettings

ROWS = ("packing", "order", "separator", "field", "token_dtype", "row_starts")  # of data: how they become rows


def check_same(folder: object, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise UsageError where the facts of a run are not those that its folder tells."""
    if now["data"] != begun["data"]:
        what = f"{folder} was begun on other data: {begun['data']}, not {now['data']}"
        raise UsageError(what, hint="give the same files, tokenizer and data settings")
    old, new = begun["recipe"], now["recipe"]
    ours, theirs = new["optimizer"]["name"], old["optimizer"]["name"]
    if ours != theirs:
        what = f"{folder} was begun with optimizer={theirs}, of whose state {ours} can make no use"
        raise UsageError(what, hint=f"leave it out, or begin a run: zoo train {folder} optimizer={ours} save=OTHER")
    if (new["train"]["ema"] is None) != (old["train"]["ema"] is None):
        _refuse(folder, "train.ema", old["train"]["ema"], "a mean of the weights begins with the first step")
    places = {"seed": (old["seed"], new["seed"])}
    places |= {f"train.{name}": (old["train"][name], new["train"][name]) for name in ("batch_size", "accumulate")}
    places |= {f"data.{name}": (old["data"][name], new["data"][name]) for name in ROWS}
    places["data.length"] = begun.get("length", now["length"]), now["length"]
    for name, (before, after) in places.items():
        if before != after:
            _refuse(folder, name, before, "with another, rows would be read twice and others never")


def other_layout(begun: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is told where a run goes on over other ranks than it was on: its sums are taken in another order."""
    before, after = (Layout(**facts.get("layout", {})) for facts in (begun, now))
    if before == after:
        return ""
    return f", over {after} instead of {before}: the same run up to rounding, not to the bit"


def nothing_left(t: TrainSettings, done: int, *, is_last: bool) -> str:
    """What is told where a run goes on that has come to its end, in the last of its stages."""
    if done < t.last or (t.last == t.steps and not is_last):
        return ""
    if t.last < t.steps:
        return f": train.stop={t.stop} leaves no more; train.stop=null goes on to step {t.steps}"
    return f": train.steps={t.steps} leaves no more; a larger number goes on"


def _refuse(folder: object, name: str, before: Any, why: str) -> None:
    what = f"{folder} was begun with {name}={clean(repr(before) if isinstance(before, str) else before)}"
    raise UsageError(what, why=why, hint=f"leave it out, or begin a run: zoo train {folder} … save=OTHER")
