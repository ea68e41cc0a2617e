"""The machine that numbers were measured on, where the system tells it and where it does not."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from zoo.measurement import environment as module
from zoo.measurement.environment import commit, environment, processor


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert environment()["cores"] == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert environment()["cores"] == 64


def test_versions_threads_and_no_gpu_are_told() -> None:
    told = environment()
    assert told["torch"].partition("+")[0] == torch.__version__.partition("+")[0]  # metadata may leave out the build
    assert told["threads"] == torch.get_num_threads()
    assert told["python"] == platform.python_version()
    assert "gpu" not in told


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: A: chip \nmodel name\t: another\n", "A: chip"),
        ("flags: x\n", "arm"),
        (None, "arm"),
    ],
)
def test_a_processor_is_called_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str | None, name: str
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(module, "Path", lambda _: file)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm")
    assert processor() == name


def test_a_checkout_is_described_and_what_was_installed_from_a_commit_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"text": "{}"}
    monkeypatch.setattr(module, "distribution", lambda _: SimpleNamespace(read_text=lambda _: told["text"]))
    monkeypatch.setattr(module, "Path", lambda _: tmp_path / "zoo" / "measurement" / "environment.py")
    monkeypatch.setattr(module, "_described", lambda root: f"at {root.name}")
    assert commit() is None
    (tmp_path / ".git").mkdir()
    assert commit() == f"at {tmp_path.name}"
    told["text"] = '{"vcs_info": {"commit_id": "abc"}}'
    assert commit() == "abc"
    told["text"] = "{"
    assert commit() == f"at {tmp_path.name}"
