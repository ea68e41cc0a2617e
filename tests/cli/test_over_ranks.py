"""Commands over several processes: what one process prints, and one message whatever goes wrong."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from zoo.cli import main
from zoo.testing.apart import over_ranks

pytestmark = [pytest.mark.slow, pytest.mark.long]

GREEDY = ("-p", "She had been", "--temperature", "0", "--tokens", "12")
ENOUGH = 60  # seconds for what takes two


def run(*words: str) -> tuple[Any, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    kept = sys.stdout, sys.stderr
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([*words])
    sys.stdout, sys.stderr = kept
    return end.value.code, out.getvalue(), err.getvalue()


def as_torchrun_has_it(rank: int, cases: list[tuple[str, ...]]) -> list[tuple[Any, str, str]]:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    return [run(*words) for words in cases]


def test_ranks_that_torchrun_started_print_what_one_process_prints() -> None:
    source = ("generate", "tiny", *GREEDY)
    cases = [
        source,
        (*source, "parallel.tp=2"),
        (*source, "parallel.tp=4"),
        ("generate", "absent", *GREEDY),
        ("eval", "tiny", "parallel.pp=2"),
        (*source, "parallel.tp=2", "--quantize", "int8"),
        ("chat", "tiny"),
    ]
    whole = run(*source)
    first, second = over_ranks(as_torchrun_has_it, cases)
    assert [out for _, out, _ in first[:2]] == [whole[1]] * 2
    assert all(out == "" for _, out, _ in second)
    words = [
        "parallel.tp=4 is a layout of 4 ranks, but 2 were started",
        "'absent' is neither a folder, a file nor a preset",
        "parallel.pp=2: zoo eval does not run in this way yet",
        "quantize= and mesh= do not go together yet",
        "zoo chat runs in one process only",
    ]
    assert all(told in err for told, (_, _, err) in zip(words, first[2:], strict=True))
    assert [code for code, _, _ in first] == [code for code, _, _ in second] == [0, 0, 2, 2, 2, 2, 2]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="a rank is found by what /proc says of it")
def test_zoo_starts_the_ranks_and_one_that_is_killed_ends_them_all_with_one_message() -> None:
    words = ["generate", "tiny", "parallel.tp=2", "-p", "She had been", "--temperature", "0", "--tokens", "250"]
    child = subprocess.Popen(
        [sys.executable, "-m", "zoo", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    begun = child.stdout.read(24)  # both ranks are at work
    assert run("generate", "tiny", *GREEDY)[1].startswith(begun)
    os.kill(rank_of(child.pid, 1), signal.SIGKILL)
    started = time.monotonic()
    _, told = child.communicate(timeout=ENOUGH)
    assert time.monotonic() - started < ENOUGH / 2
    errors = [line for line in told.splitlines() if not line.startswith("note:")]
    assert errors == ["error: rank 1 was ended by SIGKILL, and with it all others"]
    assert child.returncode == 1


def rank_of(parent: int, rank: int) -> int:
    """The process that is this rank of a run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            above = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            held = folder.joinpath("environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(above) == parent and b"RANK=%d" % rank in held:
            return int(folder.name)
    raise AssertionError(f"no rank {rank} under {parent}")
