"""Ranks of which one does not do as the others: all end within seconds, and one of them says why."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from click.testing import CliRunner
from torch.distributed.elastic.multiprocessing import SignalException

from tests.cli.test_over_ranks import GREEDY, run
from zoo.cli import main
from zoo.parallel.layout import Layout
from zoo.parallel.processes import Seat, joined, seat
from zoo.parallel.slurm import of_slurm
from zoo.testing.apart import over_ranks

SOON = 40  # seconds for what takes a few on a machine that does nothing else; torch itself would wait for 1,800

Told = tuple[Any, str, str, float]  # exit code, stdout, stderr, seconds


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def moved_to(port: str) -> None:
    """Leave the group that there is; the next meets elsewhere."""
    if dist.is_initialized():
        dist.destroy_process_group()
    os.environ["MASTER_PORT"] = port


def as_slurm_has_it(rank: int, port: str) -> None:
    """Leave the group of the test, and be what srun starts."""
    moved_to(port)
    step = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_STEP_NUM_TASKS": "2"}
    os.environ.update(step, MASTER_ADDR="127.0.0.1")


def told_by(*words: str) -> Told:
    """Exit code, stdout, what all of stderr got, and seconds."""
    before, kept = sys.__stderr__, time.monotonic()
    sys.__stderr__ = whole = io.StringIO()  # where a rank that is not the first speaks
    try:
        code, out, err = run(*words)
    finally:
        sys.__stderr__ = before
    return code, out, err + whole.getvalue(), time.monotonic() - kept


def one_lacks_a_text(rank: int, folder: str, port: str) -> list[Told]:
    """What each rank says where all goes well, and where one lacks a text; with it, its process ends."""
    as_slurm_has_it(rank, port)
    return [told_by("generate", "tiny", *GREEDY), told_by("eval", "tiny", "--text", f"{folder}/of_{rank}.txt")]


def one_is_not_heard_of(rank: int, ports: list[str]) -> list[Told]:
    """What the first rank says where the other hangs, and where it never comes."""
    as_slurm_has_it(rank, ports[0])
    if rank == 0:
        found = told_by("generate", "tiny", *GREEDY, "parallel.timeout=3")
        moved_to(ports[1])
        return [found, told_by("generate", "tiny", *GREEDY, "parallel.timeout=1")]
    here = seat()
    assert here == Seat(1, 2, 1)
    with suppress(RuntimeError):
        joined(Layout(tp=2), here, "cpu", timeout=30)
        time.sleep(5)  # as one that hangs
    return [(1, "", "", 0.0), (1, "", "", 0.0)]


@pytest.mark.slow
@pytest.mark.long
def test_every_rank_ends_soon_and_one_message_is_told(tmp_path: Path) -> None:
    whole = run("generate", "tiny", *GREEDY)
    (tmp_path / "of_0.txt").write_text("She had been there. " * 20)
    ports = [free_port() for _ in range(3)]
    of_both = over_ranks(one_lacks_a_text, str(tmp_path), ports[0]), over_ranks(one_is_not_heard_of, ports[1:])
    first, second = ([*these, *those] for these, those in zip(*of_both, strict=True))
    assert (first[0][:2], second[0][:2]) == ((0, whole[1]), (0, ""))
    errors = [[line for line in (a + b).splitlines() if line.startswith("error:")]
              for (_, _, a, _), (_, _, b, _) in zip(first, second, strict=True)]  # fmt: skip
    assert errors[1] == [f"error: {tmp_path}/of_1.txt: No such file or directory"]
    assert errors[2] == errors[3] == ["error: another rank did not answer in time"]
    assert "parallel.timeout=SECONDS sets how long one waits" in first[2][2]
    assert all(code in (1, 2) for code, *_ in (*first[1:], *second[1:]))
    assert all(seconds < SOON for *_, seconds in (*first, *second))


SLURM = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_ID": "17"}


@pytest.mark.parametrize(
    ("more", "host"),
    [
        ({"SLURM_NNODES": "1", "SLURM_STEP_NODELIST": "gpu7"}, "127.0.0.1"),
        ({"SLURM_NNODES": "2", "SLURM_STEP_NODELIST": "gpu[07-08]"}, "gpu07"),
        ({"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "a-1,b[2,4]"}, "a-1"),
        ({"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "n[3,5].site,x"}, "n3.site"),
        ({"SLURM_NNODES": "2", "MASTER_ADDR": "host", "SLURM_STEP_NODELIST": "gpu[07-08]"}, "host"),
    ],
)
def test_a_step_of_srun_is_the_ranks_of_a_run(more: dict[str, str], host: str) -> None:
    found = of_slurm(SLURM | more)
    assert (found["RANK"], found["WORLD_SIZE"], found["LOCAL_RANK"], found["MASTER_ADDR"]) == ("3", "4", "1", host)
    assert found["MASTER_PORT"] == str(20_000 + 7 * 17)


@pytest.mark.parametrize(
    "where",
    [
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"},  # a batch script, which runs once
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"},  # a job of a sweep
    ],
)
def test_one_process_of_slurm_is_alone(where: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    assert of_slurm(where) == {}
    assert seat() is None
    assert of_slurm({**where, "SLURM_STEP_NUM_TASKS": "", "SLURM_NTASKS": "4", "MASTER_ADDR": "a"})["WORLD_SIZE"] == "4"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_one_who_started_them_is_no_bug(
    sent: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(*args: object) -> Any:
        raise SignalException(f"Process 1 got signal: {sent}", sent)  # as the launcher's own handler does

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *args: launch)
    told = CliRunner().invoke(main, ["generate", "tiny", *GREEDY, "parallel.tp=2"])
    assert (told.exit_code, told.stderr.strip()) == (code, "")
