"""Under a limit of address space in which torch does not start, every command says so, or does without it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo import address_space as room
from zoo.cli.failures import tell
from zoo.errors import UsageError, ZooError
from zoo.models import construction

SMALL = 512 << 20  # bytes: torch takes some 620 MB where this was written, its smallest build


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from zoo.cli import main; main()", *words],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (SMALL, SMALL)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("words", ["inspect tiny", "list -q", "show llama3", "plugins"])
def test_what_needs_no_torch_works(words: str) -> None:
    done = run(*words.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["build tiny", "convert tiny OUT --dtype float32", "verify tiny", "bench tiny prompt=4 new=2"]
)
def test_what_needs_torch_says_so_in_a_sentence(tmp_path: Path, words: str) -> None:
    done = run(*words.replace("OUT", str(tmp_path / "out")).split())
    said = "torch cannot start: this process may use only 512 MiB of address space\nallow more: ulimit -v unlimited"
    assert (done.returncode, done.stderr) == (1, f"error: {said}\n")


def test_nothing_is_tried_where_nothing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "starts", lambda name: pytest.fail(f"{name} was tried"))
    for limit in (resource.RLIM_INFINITY, room.ENOUGH):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, limit=limit: (limit, limit))
        before = [*sys.meta_path]
        room.watch()
        assert sys.meta_path == before
        room.Room().find_spec("torch")


def test_each_library_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(room, "starts", lambda name: tried.append(name) or name != "torch")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (SMALL, SMALL))
    finder = room.Room()
    for name in ("json", "numpy", "numpy"):
        finder.find_spec(name)
    with pytest.raises(ZooError, match="torch cannot start: this process may use only 512 MiB"):
        finder.find_spec("torch")
    assert tried == ["numpy", "torch"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_lack_of_memory_is_no_bug(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(error) == 1
    assert capsys.readouterr().err.startswith("error: there is not enough memory")


GIB = 1 << 30


def test_memory_is_that_of_the_machine_with_swap_or_less_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text(f"MemTotal: {GIB >> 10} kB\nMemFree: 5 kB\nHugePages_Total:       0\nSwapTotal: 1024 kB\n")
    monkeypatch.setattr(room, "MEMINFO", meminfo)
    monkeypatch.setattr(room, "CONTAINER", (limit,))
    assert room.memory_bytes() == GIB + (1 << 20)
    limit.write_text("max\n")
    assert room.memory_bytes() == GIB + (1 << 20)
    limit.write_text("12345\n")
    assert room.memory_bytes() == 12345


def test_weights_that_memory_cannot_hold_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    config, needed = zoo.compose("tiny"), 4 * 1_062_272  # the parameters that zoo list tells, in float32
    monkeypatch.setattr(construction, "memory_bytes", lambda: needed - 1)
    with pytest.raises(UsageError, match=r"random weights of 4.05 MiB do not fit into the .* of this machine's memory"):
        zoo.build(config, device="cpu")
    assert next(zoo.build(config, device="meta").parameters()).is_meta
    monkeypatch.setattr(construction, "memory_bytes", lambda: needed)
    zoo.build(config, device="cpu")
    monkeypatch.setattr(construction, "memory_bytes", lambda: None)
    zoo.build(config, device="cpu")
