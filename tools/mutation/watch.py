"""A pytest plugin that writes down which functions each test runs, in this process and in those it starts.

With MUTATION_ORDER it runs the tests that this file names instead, in its order.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

Seen = set[tuple[str, str]]
ROOT = os.environ.get("MUTATION_ROOT", "")
OUT = os.environ.get("MUTATION_OUT", "")
ROOMS = (f"{ROOT}/zoo/", f"{ROOT}/plugins/")


class Watch:
    """The functions that were entered since `seen` was emptied."""

    def __init__(self) -> None:
        self.seen: Seen = set()
        self.outcome, self.seconds = "passed", 0.0
        self.fixtures: dict[int, Seen] = {}  # a shared fixture counts for every test that asks for it
        self.look()

    def look(self) -> None:
        """Once per test: some set a tracer of their own."""
        if not os.environ.get("MUTATION_BLIND"):
            sys.settrace(self._enter)
            threading.settrace(self._enter)

    def _enter(self, frame: Any, event: str, value: object) -> None:
        code = frame.f_code
        if ROOMS and code.co_filename and code.co_filename.startswith(ROOMS):  # none as the process ends
            self.seen.add((code.co_filename, code.co_qualname))

    def write(self, test: str, **more: object) -> None:
        names = sorted({f"{path(file)}:{name.partition('.<')[0]}" for file, name in self.seen})
        with (Path(OUT) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": test, "ran": names, **more}) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, object, object]:
        outer, self.seen = self.seen, set()
        try:
            return (yield)
        finally:
            self.fixtures[id(fixturedef)] = self.seen
            self.seen = self.seen | outer

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, object, object]:
        forget()
        self.look()
        self.seen = set()
        self.outcome, self.seconds = "passed", 0.0
        result = yield
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                self.seen |= self.fixtures.get(id(definition), set())
        slow = item.get_closest_marker("slow") is not None
        self.write(item.nodeid, slow=slow, outcome=self.outcome, seconds=round(self.seconds, 3))
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds += report.duration
        if report.outcome != "passed":
            self.outcome = report.outcome


def path(file: str) -> str:
    """A file's path in the repository; the copy links plugins/ into zoo/."""
    return (
        file.removeprefix(f"{ROOT}/").removeprefix("zoo/") if "/zoo/plugins/" in file else file.removeprefix(f"{ROOT}/")
    )


def forget() -> None:
    """Empty what functions remember, or only the first test that calls one would be seen to run it."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("zoo", "tests")]:
        for value in list(vars(sys.modules[name]).values()):
            if callable(getattr(value, "cache_clear", None)):
                value.cache_clear()


def watch_child() -> None:
    """In a process that a test started: what it ran belongs to the test, or to the file if a fixture started it."""
    if OUT and (test := os.environ.get("PYTEST_CURRENT_TEST")):
        watch, (name, _, phase) = Watch(), test.rpartition(" ")
        atexit.register(lambda: watch.write(name, is_shared=phase == "(setup)"))


def pytest_configure(config: Any) -> None:
    if OUT and not config.getoption("numprocesses", None):  # the process that only hands tests out runs none
        config.pluginmanager.register(Watch())


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    if order := os.environ.get("MUTATION_ORDER"):
        rank = {test: at for at, test in enumerate(Path(order).read_text(encoding="utf-8").splitlines())}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in rank])
        items[:] = sorted((item for item in items if item.nodeid in rank), key=lambda item: rank[item.nodeid])
