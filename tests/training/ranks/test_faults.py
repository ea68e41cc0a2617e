"""A checkpoint of two ranks that is cut short, by a signal or a full disk, leaves the last one whole."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zoo
from tests.training.ranks.cases import DP
from tests.training.runs import job, token_file
from zoo.errors import ZooError
from zoo.files import staging
from zoo.testing.apart import over_ranks
from zoo.testing.check import Broken
from zoo.training.running.beginning import begun, train
from zoo.training.running.run import go

pytestmark = [pytest.mark.slow, pytest.mark.long]

POINTS: dict[str, tuple[int, Callable[[], tuple[Any, str]]]] = {  # which rank dies, and what it calls then
    "amid its part of the state": (1, lambda: (writer(), "write_data")),
    "before the folder is put in place": (0, lambda: (staging, "_put")),
}


def writer() -> Any:
    from torch.distributed.checkpoint.filesystem import FileSystemWriter

    return FileSystemWriter


def made(folder: str, name: str, **train_of: Any) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", DP, mesh_dim_names=("dp", "tp"))
    options = {"save_every": 2, "steps": 4, **train_of}
    return replace(job(Path(folder) / name, Path(folder) / "tokens.npy", train=options), mesh=mesh)


def killed(rank: int, folder: str, point: str) -> None:
    """A run, of which one rank dies in the checkpoint of its last step."""
    run, _ = begun(made(folder, point), print)
    who, what = POINTS[point]

    def die(*args: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    run.recipe.train.__dict__["stop"] = 2
    go(run)
    if rank == who:
        setattr(*what(), die)
    run.recipe.train.__dict__["stop"] = 4
    go(run, done=2)


def whole_then_gone_on(rank: int, folder: str) -> list[Any]:
    """The run that nothing befell, those that were killed, and one whose disk is full on rank 1 at its last step."""
    train(made(folder, "whole"))
    for point in POINTS:
        train(made(folder, point), resume=True)
    run, _ = begun(made(folder, "full", stop=2), print)
    go(run)
    if rank == 1:

        def full(*args: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        writer().write_data = full
    run.recipe.train.__dict__["stop"] = 4
    try:
        go(run, done=2)
    except (ZooError, OSError) as error:
        return [step(folder, "full"), str(error)]
    return [step(folder, "full"), ""]


def step(folder: str, name: str) -> int:
    return json.loads(Path(folder, name, "training.json").read_text())["step"]


def test_the_last_checkpoint_is_whole_and_the_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    token_file(tmp_path)
    for point in POINTS:
        with pytest.raises(Broken, match=r"rank \d"):
            over_ranks(killed, str(tmp_path), point)
        assert step(str(tmp_path), point) == 2
        zoo.load(tmp_path / point)
    seen = over_ranks(whole_then_gone_on, str(tmp_path))
    for point in POINTS:
        assert step(str(tmp_path), point) == 4
        for file in ("model.safetensors", "config.json"):
            assert (tmp_path / point / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not [*tmp_path.glob(".*.incomplete")]
    assert [step for step, _ in seen] == [2, 2]
    assert all("No space left on device" in words for _, words in seen)
    assert "was not written" in seen[0][1]
