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

import zoo
from zoo.cli import main
from zoo.testing.apart import over_ranks

pytestmark = [pytest.mark.slow, pytest.mark.long]

GREEDY = ("-p", "She had been", "--temperature", "0", "--tokens", "12")
SP = ("parallel.tp=2", "parallel.sp=true")
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


def test_ranks_that_torchrun_started_print_what_one_process_prints(tmp_path: Path) -> None:
    source = ("generate", "tiny", *GREEDY)
    (tmp_path / "a.txt").write_text("One day she was very happy. Tom had a big dog. " * 8)
    short = ("data.length=16", "train.batch_size=2", "train.steps=2")
    learning = ("train", "tiny", f"data={tmp_path}/a.txt", *short)
    text = tmp_path / "text.txt"
    text.write_text("She had been in the garden all the morning, and had not seen him. " * 6)
    # in float64, for in the file's 16 bits sums in another order are other numbers
    reading = ("--text", str(text), "--window", "64", "--dtype", "float64")
    read = [("eval", "tiny", *reading), ("compare", "tiny", "tiny model.norm_eps=1e-3", *reading)]
    cases = [
        source,
        (*source, *SP),
        (*source, "parallel.pp=2"),
        (*source, "parallel.cp=2"),
        (*source, "parallel.tp=4"),
        ("generate", "absent", *GREEDY),
        ("eval", "tiny", "parallel.dp=2"),
        (*source, "parallel.tp=2", "--quantize", "int8"),
        ("chat", "tiny"),
        (*learning, f"save={tmp_path}/ranks", "parallel.dp=2"),
        ("train", "--resume", f"save={tmp_path}/ranks", "train.steps=3"),
        ("compare", "tiny", "gpt2", "parallel.tp=2"),
        ("compare", "tiny", "tiny", *reading, "--speed"),
        *((*words, *SP) for words in read),
    ]
    whole, alone, packed = run(*source), run(*learning, f"save={tmp_path}/one"), run(*source, "--quantize", "int8")
    found = [run(*words)[1] for words in read]
    first, second = over_ranks(as_torchrun_has_it, cases)
    assert [out for _, out, _ in first[:4]] == [whole[1]] * 4
    assert [out for _, out, _ in first[-2:]] == found
    assert first[7][1] == packed[1]
    assert all(len(out) > 100 for out in found)
    assert all(out == "" for _, out, _ in second)
    words = [
        "parallel.tp=4 is a layout of 4 ranks, but 2 were started",
        "'absent' is neither a folder, a file nor a preset",
        "parallel.dp=2: zoo eval does not run in this way yet",
        "",  # which ends well
        "zoo chat runs in one process only",
        *("", ""),  # which end well
        "parallel.tp=2 needs --text: without it nothing is run",
        "speed= and mesh= do not go together",
    ]
    assert all(told in err for told, (_, _, err) in zip(words, first[4:-2], strict=True))
    codes = [0, 0, 0, 0, 2, 2, 2, 0, 2, 0, 0, 2, 2, 0, 0]
    assert [code for code, _, _ in first] == [code for code, _, _ in second] == codes
    assert first[9][1].replace("/ranks:", "/one:") == alone[1]  # where it is, its steps, its loss
    assert first[10][1].startswith(f"{tmp_path}/ranks: step 3 of 3, loss ")
    assert "instead of" not in first[10][2]  # of another layout


def test_a_benchmark_over_ranks_tells_of_one_what_arithmetic_does(quick_jobs: None) -> None:
    found = zoo.bench("tiny", *SP, prompt=8, new=2, repeats=1).to_dict()
    model = found["models"][0]
    assert (found["parallel"]["tp"], found["parallel"]["sp"], found["is_random"]) == (2, True, False)
    assert model["parameters"] == zoo.inspect("tiny").num_parameters
    # five layers, one of two heads of 32 for keys and one for values, 10 tokens of bfloat16
    assert model["cache"]["bytes"] == model["cache"]["formula_bytes"] == 5 * 2 * 32 * 10 * 2
    assert "zoo bench does not run in this way yet" in run("bench", "tiny", "parallel.dp=2")[2]
    assert "transformers runs in one process" in run("bench", "tiny", "parallel.tp=2", "--against", "transformers")[2]


TORCHRUN = Path(sys.executable).with_name("torchrun")


@pytest.mark.skipif(not TORCHRUN.exists(), reason="torchrun is not beside the interpreter")
def test_the_torchrun_of_the_environment_runs_what_one_process_prints(
    quick_jobs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_EXEC", sys.executable)  # by which torchrun starts the ranks
    words = [str(TORCHRUN), "--nproc-per-node", "2", "-m", "zoo", "generate", "tiny", *GREEDY]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20 * ENOUGH)
    assert (done.returncode, done.stdout) == (0, run("generate", "tiny", *GREEDY)[1])


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
