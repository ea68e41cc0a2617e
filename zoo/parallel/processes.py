"""The processes of one run: started here by torch's elastic launcher, or as torchrun and Slurm have started them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, ZooError
from zoo.parallel.layout import CUTS, GROUP, Layout
from zoo.parallel.slurm import of_slurm

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

FOLDER = "ZOO_RANKS"  # the variable that names where ranks leave what went wrong, for the process that started them
LOST = "lost"  # how such a file begins where the rank only noticed that another was gone
UNFORESEEN, BUG = "unforeseen", 70  # and where it ended with this exit code


@dataclass(frozen=True)
class Seat:
    """Which of how many processes this is."""

    rank: int
    count: int
    local: int = 0  # among those of this machine


def seat() -> Seat | None:
    """What torchrun or Slurm made of this process; None: one that nobody started beside others."""
    where: dict[str, str] = dict(os.environ)
    if "RANK" not in where and "SLURM_PROCID" in where and (found := of_slurm(where)):
        os.environ.update(found)
        where |= found
    if "RANK" not in where or "WORLD_SIZE" not in where:
        return None
    return Seat(int(where["RANK"]), int(where["WORLD_SIZE"]), int(where.get("LOCAL_RANK", "0")))


def joined(
    layout: Layout, here: Seat, device: str, ways: Sequence[str] = (), *, timeout: int | None = None
) -> DeviceMesh:
    """The mesh of a layout over the processes that were started, with a dimension for each of these ways.

    None given: for each that cuts the model. Where nothing is said of the layout, all ranks are of the first way.
    `timeout` are seconds that one rank waits for another. Raises UsageError for a layout of another size.
    """
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    if layout.num_ranks == 1:
        counts: dict[str, Any] = {ways[0] if ways else "tp": here.count}
        layout = Layout(**counts)
    if layout.num_ranks != here.count:
        what = f"{layout} is a layout of {layout.num_ranks} ranks, but {here.count} were started"
        raise UsageError(what, hint=f"torchrun --nproc-per-node {layout.num_ranks}, or without torchrun")
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(here.local)
    if not dist.is_initialized():
        waits = None if timeout is None else timedelta(seconds=timeout)  # None: as long as torch does, half an hour
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=waits)
    torch.manual_seed(_of_rank_0(torch.initial_seed()))
    sizes = vars(layout)
    names = tuple(ways or [way for way, count in sizes.items() if count > 1] or ["tp"])
    told = tuple("sp" if way == "tp" and layout.sp else way for way in names)
    return init_device_mesh(kind, tuple(sizes[way] for way in names), mesh_dim_names=told)


def launched(words: Sequence[str], layout: Layout) -> int:
    """Run `zoo` with these words in every process of a layout on this machine; the exit code.

    Raises ZooError, once, with what went wrong on the rank that it went wrong on. A signal ends it as it ends one
    process, when the ranks have ended.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _quiet()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # of the ranks: what went wrong is told once, by zoo
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // layout.num_ranks)))
    with TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        config = LaunchConfig(
            1, 1, layout.num_ranks, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
            run_id=Path(folder).name, monitor_interval=0.1,
        )  # fmt: skip
        try:
            elastic_launch(config, sys.executable)("-m", "zoo", *words)
        except ChildFailedError as error:
            raise _cause(error, Path(folder)) from None
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + error.sigval) from None
        finally:
            del os.environ[FOLDER]
    return 0


class RankFailure(ZooError):
    """What one rank said before it ended."""

    def __init__(self, what: str, *, exit_code: int) -> None:
        super().__init__(what)
        self.exit_code = exit_code


def _cause(error: Any, folder: Path) -> ZooError:
    """Of all that ended badly: what the first of them said of itself, or a rank that a signal ended.

    In this order: a process may be aborted on its way out, when it has said why it goes and others are gone already.
    What nobody foresaw comes after a signal, for it may be what a rank met when another was ended.
    """
    failures = {rank: failure.exitcode for rank, failure in error.failures.items()}
    words = {int(file.name): file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.isdigit()}
    first = min(words, key=lambda rank: (words[rank].startswith(LOST), rank), default=None)
    kind, _, what = ("" if first is None else words[first]).partition("\n")
    if not kind or kind.split()[0] in (LOST, UNFORESEEN):
        for rank, code in failures.items():
            if code < 0 and code != -signal.SIGTERM:  # which is how the launcher ends the others
                name = signal.Signals(-code).name
                return RankFailure(f"rank {rank} was ended by {name}, and with it all others", exit_code=1)
    if not kind:
        return RankFailure(f"rank {min(failures)} ended with exit code {failures[min(failures)]}", exit_code=1)
    return RankFailure(what.strip().removeprefix("error: "), exit_code=int(kind.split()[1]))


def left_behind(rank: int, words: str, code: int, *, is_lost: bool) -> None:
    """Leave what went wrong, and the exit code that stands for it, for the process that started this one."""
    kind = LOST if is_lost else UNFORESEEN if code == BUG else "own"
    Path(os.environ[FOLDER], str(rank)).write_text(f"{kind} {code}\n{words}", encoding="utf-8")


def _of_rank_0(value: int) -> int:
    import torch.distributed as dist

    told = [value] * dist.get_world_size()
    dist.all_gather_object(told, value)  # not a broadcast: no rank goes on, and maybe ends, before all have joined
    return told[0]


def _quiet() -> None:
    """Let torch's launcher log nothing: what it knows, we tell."""
    import logging

    for name in ("torch.distributed", *logging.root.manager.loggerDict):  # some of which have a level of their own
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def refuse_others(layout: Layout, command: str, known: Sequence[str] = CUTS) -> None:
    """Raise UsageError for a way of laying a model out that a command does not run in."""
    for name, value in vars(layout).items():
        if value > 1 and name not in known:
            told = ", ".join(f"{GROUP}.{one}" for one in known)
            raise UsageError(f"{GROUP}.{name}={value}: {command} does not run in this way yet", hint=f"it knows {told}")
