"""How far long work has come: told while it is watched, and in units that add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import zoo
from zoo.progress import Advance, progress, shown_by

Told = dict[str, list[int | str]]


@contextmanager
def watching() -> Iterator[Told]:
    """What was told: total, unit and done, by what it was."""
    told: Told = {}

    @contextmanager
    def show(what: str, total: int, unit: str) -> Iterator[Advance]:
        told[what] = [total, unit, 0]

        def advance(done: int) -> None:
            told[what][2] += done

        yield advance

    with shown_by(show):
        yield told


def test_nobody_watches_a_library_call(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("nothing", 3) as advance:
        advance(3)
    zoo.load("tiny")
    assert capfd.readouterr() == ("", "")


def test_a_conversion_tells_what_it_writes_and_reads_back(tmp_path: Path) -> None:
    with watching() as told:
        zoo.convert("tiny", tmp_path / "tiny-1.5.copy", format="hf")
    total, unit, done = told["write tiny-1.5.copy"]
    assert (total, unit) == (done, "bytes")
    size = (tmp_path / "tiny-1.5.copy" / "model.safetensors").stat().st_size
    assert 0 < size - total < 20_000  # the header
    assert told["read model.safetensors back"][0] == size
    assert "hash model.safetensors" not in told  # it is hashed while it is written


def test_a_load_and_a_text_tell_tensors_and_tokens() -> None:
    with watching() as told:
        found = zoo.verify("tiny", against="tiny", length=12)
    assert found.passed
    assert [told[what] for what in told if what.startswith("load")] == [[47, "tensors", 47]]
    assert told["compare"] == [5, "passes", 5]
