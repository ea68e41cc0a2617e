"""The processes of one run: started here by torch's elastic launcher, or as torchrun and Slurm have started them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, ZooError
from zoo.parallel.layout import GROUP, Layout

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

FOLDER = "ZOO_RANKS"  # the variable that names where ranks leave what went wrong, for the process that started them
LOST = "lost"  # how such a file begins where the rank only noticed that another was gone
SLURM = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}  # of srun


@dataclass(frozen=True)
class Seat:
    """Which of how many processes this is."""

    rank: int
    count: int
    local: int = 0  # among those of this machine


def seat() -> Seat | None:
    """What torchrun or Slurm made of this process; None: one that nobody started beside others."""
    where: dict[str, str] = dict(os.environ)
    if "RANK" not in where and int(where.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in where:
        where |= {ours: where[theirs] for ours, theirs in SLURM.items() if theirs in where}
        where.setdefault("MASTER_ADDR", where.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
        where.setdefault("MASTER_PORT", str(20_000 + int(where.get("SLURM_JOB_ID", "0")) % 20_000))
        os.environ.update({name: where[name] for name in (*SLURM, "MASTER_ADDR", "MASTER_PORT") if name in where})
    if "RANK" not in where or "WORLD_SIZE" not in where:
        return None
    return Seat(int(where["RANK"]), int(where["WORLD_SIZE"]), int(where.get("LOCAL_RANK", "0")))


def joined(layout: Layout, here: Seat, device: str) -> DeviceMesh:
    """The mesh of a layout over the processes that were started. Raises UsageError for one of another size."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    if layout.num_ranks == 1:
        layout = Layout(tp=here.count)
    if layout.num_ranks != here.count:
        what = f"{layout} is a layout of {layout.num_ranks} ranks, but {here.count} were started"
        raise UsageError(what, hint=f"torchrun --nproc-per-node {layout.num_ranks}, or without torchrun")
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(here.local)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    torch.manual_seed(_of_rank_0(torch.initial_seed()))
    return init_device_mesh(kind, (layout.tp,), mesh_dim_names=("tp",))


def launched(words: Sequence[str], layout: Layout) -> int:
    """Run `zoo` with these words in every process of a layout on this machine; the exit code.

    Raises ZooError, once, with what went wrong on the rank that it went wrong on.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _quiet()
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
        finally:
            del os.environ[FOLDER]
    return 0


class RankFailure(ZooError):
    """What one rank said before it ended."""

    def __init__(self, what: str, *, exit_code: int) -> None:
        super().__init__(what)
        self.exit_code = exit_code


def _cause(error: Any, folder: Path) -> ZooError:
    """Of all that ended badly: a rank that a signal ended, or what the first of them said of itself."""
    failures = {rank: failure.exitcode for rank, failure in error.failures.items()}
    for rank, code in failures.items():
        if code < 0 and code != -signal.SIGTERM:  # which is how the launcher ends the others
            name = signal.Signals(-code).name
            return RankFailure(f"rank {rank} was ended by {name}, and with it all others", exit_code=1)
    told = {int(file.name): file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.isdigit()}
    ranks = sorted(told, key=lambda rank: (told[rank].startswith(LOST), rank))
    if not ranks:
        return RankFailure(f"rank {min(failures)} ended with exit code {failures[min(failures)]}", exit_code=1)
    first = ranks[0]
    words = told[first].partition("\n")[2].strip().removeprefix("error: ")
    return RankFailure(words, exit_code=max(1, failures.get(first, 1)))


def left_behind(rank: int, words: str, *, is_lost: bool) -> None:
    """Leave what went wrong for the process that started this one."""
    Path(os.environ[FOLDER], str(rank)).write_text(f"{LOST if is_lost else 'own'}\n{words}", encoding="utf-8")


def _of_rank_0(value: int) -> int:
    import torch.distributed as dist

    told = [value]
    dist.broadcast_object_list(told, src=0)
    return told[0]


def _quiet() -> None:
    """Let torch's launcher log nothing: what it knows, we tell."""
    import logging

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)


def refuse_others(layout: Layout, command: str, known: Sequence[str] = ("tp",)) -> None:
    """Raise UsageError for a way of laying a model out that a command does not run in."""
    for name, value in vars(layout).items():
        if value > 1 and name not in known:
            told = ", ".join(f"{GROUP}.{one}" for one in known)
            raise UsageError(f"{GROUP}.{name}={value}: {command} does not run in this way yet", hint=f"it knows {told}")
