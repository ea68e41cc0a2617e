"""One server for most of the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("starlette", reason="zoo serve needs the extra serve")
pytest.importorskip("uvicorn", reason="zoo serve needs the extra serve")
pytest.importorskip("sse_starlette", reason="zoo serve needs the extra serve")
pytest.importorskip("httpx", reason="the tests of zoo serve ask by httpx")

import httpx

import zoo
from tests.serving.serve import served, talking_tiny


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, object]]:
    with served(["tiny", talking_tiny(tmp_path_factory.mktemp("models"))], rows=4, queue=32) as pair:
        yield pair


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Two models of which no weights are read."""
    from zoo.serving.bounds import Bounds
    from zoo.serving.opening import open_volume
    from zoo.serving.roster import Roster

    talker = talking_tiny(tmp_path_factory.mktemp("known"))
    return Roster([open_volume(source, dtype="float32") for source in ("tiny", talker)], Bounds(rows=4))


@pytest.fixture
def client(server) -> httpx.Client:
    return server[0]


@pytest.fixture(scope="session")
def tiny():
    return zoo.load("tiny", dtype="float32")
