"""A process that is killed in the middle of a checkpoint leaves the last one whole, and the run goes on from there."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.some import some
from tests.training.runs import job, token_file
from zoo.files import staging, write
from zoo.files.safetensors_writer import SafetensorsWriter
from zoo.training.running.beginning import begun, train
from zoo.training.running.run import go, save

POINTS = {  # where the third checkpoint is cut short, and the step that is then in the folder
    "amid the weights": (SafetensorsWriter, "write", 2),
    "before the state": (write, "manifest_text", 2),
    "before it is put in place": (staging, "_put", 2),
    "behind that": (staging, "sync_folder", 4),
}


@pytest.mark.parametrize("point", some(POINTS, "before it is put in place"))
def test_a_run_killed_amid_a_checkpoint_goes_on_from_the_last(tmp_path: Path, point: str) -> None:
    file, more = token_file(tmp_path), {"train": {"save_every": 2}}
    whole, _ = train(job(tmp_path / "whole", file, **more))
    if (child := os.fork()) == 0:
        killed_at(job(tmp_path / "killed", file, **more), *POINTS[point][:2], has_put=POINTS[point][2] == 4)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    step = json.loads((tmp_path / "killed" / "training.json").read_text())["step"]
    assert step == POINTS[point][2]
    zoo.load(tmp_path / "killed")
    again, _ = train(job(tmp_path / "killed", file, **more), resume=True)
    expected = dict(whole.trainee.model.named_parameters())
    assert all(torch.equal(p, expected[name]) for name, p in again.trainee.model.named_parameters())
    assert not list(tmp_path.glob(".killed.*"))


def killed_at(made: Any, owner: Any, name: str, *, has_put: bool) -> None:
    """Be the process that dies in the checkpoint of step 4, when it calls `name`, or once the folder was put there."""
    try:
        run, _ = begun(made, print)
        run.recipe.train.__dict__["stop"] = 2
        go(run)

        def die(*args: Any, **options: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        whole, calls = getattr(owner, name), []

        def late(*args: Any, **options: Any) -> Any:
            calls.append(1)
            return whole(*args, **options) if has_put and len(calls) < 2 else die()

        run.recipe.train.__dict__["stop"] = 4
        run.recipe.train.__dict__["save_every"] = None
        setattr(owner, name, late)
        go(run, done=2)
    finally:
        os._exit(1)


def test_a_run_that_ended_does_nothing_more(tmp_path: Path) -> None:
    made = job(tmp_path / "run", token_file(tmp_path))
    run, _ = train(made)
    save(run, 8)
    again, record = train(made, resume=True)
    assert record == {"step": 8}
    assert len(again.folder.records()) == 8
