"""A preset is data, whatever it says: made by a seed to act, read elsewhere or exhaust, and used at every door."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SECONDS, MEBIBYTES = 1, 100  # of one case's own process, beyond what it begins with; 29 where this was written


def hold(place: Path, *options: str, count: int) -> None:
    """Raise AssertionError with what hostile presets did beyond being refused or being data."""
    harmless, *hostile = used(place, f"--count={count}", *options)
    assert (harmless["code"], harmless["made"]) == (0, [])
    assert len(hostile) == count
    assert not [fault for told in hostile for fault in faults(told, harmless)]
    refused = [told for told in hostile if told["code"]]
    assert len(refused) > count / 2  # the others are inert, or stand in a list as what cannot be used


def used(place: Path, *options: str) -> list[dict[str, Any]]:
    """What a harmless preset did, and then each of the hostile ones."""
    words = [sys.executable, "-m", "tests.hostile.run", str(place / "cases"), *options]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def faults(told: dict[str, Any], harmless: dict[str, Any]) -> list[str]:
    """What a case did that data cannot do."""
    # What turns out to be harmless is built, by torch: what counts is what was taken beyond that.
    has_torch = told["door"] in ("build", "sweep", "plugin build") and told["mebibytes"] > harmless["mebibytes"] / 2
    limits = (SECONDS + has_torch * harmless["seconds"], MEBIBYTES + has_torch * harmless["mebibytes"])
    found = {
        "it made files": told["made"],
        "it read outside": told["leaked"],
        "it ended in a traceback": "Traceback" in told["said"] or "zoo has a bug" in told["said"],
        "it was killed": told["code"] not in (0, 1, 2, 3),
        "it took long": told["seconds"] > limits[0],
        "it took memory": told["mebibytes"] > limits[1],
    }
    return [f"{told['door']}: {told['name']}: {what}: {told}" for what, is_so in found.items() if is_so]


@pytest.mark.slow
def test_hostile_presets_are_refused_or_are_data(tmp_path: Path) -> None:
    hold(tmp_path, "--seed=7", "--light", count=12)


@pytest.mark.long
@pytest.mark.slow
def test_300_hostile_presets_are_refused_or_are_data(tmp_path: Path) -> None:
    hold(tmp_path, "--seed=9", count=300)
