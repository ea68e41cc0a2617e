"""Which tests run which function: recorded once, and again for the test files that have changed since."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
AT_ONCE = 60  # test files whose record is kept before the next are run


@dataclass
class Test:
    """One test as it was seen."""

    name: str
    slow: bool = False
    seconds: float = 0.0
    outcome: str = "failed"
    ran: list[str] = field(default_factory=list)

    @property
    def file(self) -> str:
        """The file that holds it."""
        return self.name.partition("::")[0]


def recorded(scratch: Path, store: Path, *, again: tuple[str, ...], fast_only: bool) -> list[Test]:
    """The tests that pass in an unchanged copy, with what they run; what is out of date is run first."""
    tests: list[Test] = []
    for marks in ("not slow",) if fast_only else ("not slow", "slow"):
        tests += _of(scratch, store / f"{marks.replace(' ', '-')}.json", marks, again)
    for test in tests:
        if test.outcome == "failed":
            print(f"left out, for it fails in an unchanged copy: {test.name}", file=sys.stderr)
    return [test for test in tests if test.outcome == "passed"]


def _of(scratch: Path, store: Path, marks: str, again: tuple[str, ...]) -> list[Test]:
    known = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    found = {str(f.relative_to(scratch)): f for f in sorted(scratch.glob("tests/**/test_*.py"))}
    files = {name: file for name, file in found.items() if "/zoo-" not in name}  # a plugin's of its own are not run
    hashes = {name: hashlib.sha1(file.read_bytes()).hexdigest() for name, file in files.items()}
    stale = [name for name in files if known.get(name, {}).get("hash") != hashes[name] or name.startswith(again)]
    if stale:
        print(f"recording what the tests that are {marks} run: {len(stale)} of {len(files)} files", file=sys.stderr)
    for some in (stale[i : i + AT_ONCE] for i in range(0, len(stale), AT_ONCE)):
        seen = _watched(scratch, some, marks)
        for name in some:
            known[name] = {"hash": hashes[name], "tests": [asdict(t) for t in seen.values() if t.file == name]}
        store.write_text(json.dumps({name: known[name] for name in files if name in known}), encoding="utf-8")
    return [Test(**test) for name in files for test in known[name]["tests"]]


def _watched(scratch: Path, files: Iterable[str], marks: str) -> dict[str, Test]:
    tests: dict[str, Test] = {}
    shared: dict[str, set[str]] = {}
    for line in _run(scratch, files, marks):
        test = tests.setdefault(line["test"], Test(line.pop("test")))
        ran = line.pop("ran")
        if line.pop("is_shared", False):
            shared.setdefault(test.file, set()).update(ran)
        test.ran = sorted({*test.ran, *ran})
        vars(test).update(line)
    for test in tests.values():
        test.ran = sorted({*test.ran, *shared.get(test.file, ())})
    failed = [test for test in tests.values() if test.outcome == "failed"]  # being watched takes time, and shows
    order = scratch.parent / "order"
    order.write_text("\n".join(test.name for test in failed), encoding="utf-8")
    again = sorted({test.file for test in failed})
    for line in _run(scratch, again, marks, MUTATION_BLIND="1", MUTATION_ORDER=str(order)) if failed else []:
        if line["test"] in tests and "outcome" in line:
            tests[line["test"]].outcome = line["outcome"]
    return tests


def _run(scratch: Path, files: Iterable[str], marks: str, **environment: str) -> list[dict[str, Any]]:
    with TemporaryDirectory() as out:
        command = [sys.executable, "-m", "pytest", "-q", "-m", marks, "-n", "2", "-p", "watch", *files]
        path = os.pathsep.join(map(str, (scratch, HERE, HERE / "child")))
        given = os.environ | {"PYTHONPATH": path, "MUTATION_ROOT": str(scratch), "MUTATION_OUT": out} | environment
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider"], cwd=scratch, env=given, check=False, stdout=sys.stderr
        )
        if done.returncode not in (0, 1, 5):  # passed, some failed, none is so marked
            raise SystemExit(f"pytest ended with {done.returncode}: nothing is recorded of {', '.join(files)}")
        lines = [line for file in Path(out).glob("*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines]
