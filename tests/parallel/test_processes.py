"""What the process that started some ranks says of those that ended badly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.parallel.processes import FOLDER, _cause, left_behind

ABORTED, KILLED, ENDED = -6, -9, -15  # by signals; the last is how the launcher ends the others


@pytest.mark.parametrize(
    ("codes", "said", "told"),
    [
        # rank 1 is aborted when it has said its word, or another has: as where C++ ends and a peer is gone
        ({0: 1, 1: ABORTED}, {0: ("no such path", 3, False)}, ("no such path", 3)),
        ({1: ABORTED, 2: ENDED}, {1: ("no such path", 3, False)}, ("no such path", 3)),
        ({0: 1, 1: KILLED}, {0: ("another rank ended", 1, True)}, ("rank 1 was ended by SIGKILL", 1)),
        ({0: 70, 1: KILLED}, {0: ("zoo has a bug: Socket closed", 70, False)}, ("rank 1 was ended by SIGKILL", 1)),
        ({0: 70}, {0: ("zoo has a bug", 70, False), 1: ("another rank ended", 1, True)}, ("zoo has a bug", 70)),
        ({0: 1}, {0: ("another rank did not answer", 1, True)}, ("another rank did not answer", 1)),
        ({1: 5}, {}, ("rank 1 ended with exit code 5", 1)),
    ],
)
def test_what_a_rank_said_of_itself_comes_first_then_a_signal_then_what_it_noticed(
    codes: dict[int, int],
    said: dict[int, tuple[str, int, bool]],
    told: tuple[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    for rank, (words, code, is_lost) in said.items():
        left_behind(rank, f"error: {words}\n", code, is_lost=is_lost)
    failures = {rank: SimpleNamespace(exitcode=code) for rank, code in codes.items()}
    found = _cause(SimpleNamespace(failures=failures), tmp_path)
    assert (str(found).partition(",")[0], found.exit_code) == told
