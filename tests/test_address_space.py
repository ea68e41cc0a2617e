"""Under a limit of address space in which torch does not start, every command says so, or does without it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from zoo import address_space as room
from zoo.cli.failures import tell
from zoo.errors import ZooError

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
