"""Two models that do not fit into memory together take turns, in the order in which they were asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from tests.serving.serve import served, talking_tiny
from zoo.errors import UsageError
from zoo.generation import generate

GOOD = {"prompt": "She said", "max_tokens": 20}


def test_one_at_a_time_is_in_memory_and_both_are_answered(tmp_path, tiny):
    with served(["tiny", talking_tiny(tmp_path)], memory_bytes=1) as (client, server):
        assert not server.shelf.holds_all
        found: dict[int, str] = {}

        def ask(number: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as own:
                asked = {**GOOD, "model": ("tiny", "talker")[number % 2]}
                found[number] = own.post("/v1/completions", json=asked).json()["choices"][0]["text"]

        askers = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for asker in askers:
            asker.start()
        most = 0
        while any(asker.is_alive() for asker in askers):
            most = max(most, len(server.shelf.engines))
            time.sleep(0.005)
        assert most == 1
        assert {*found.values()} == {generate(tiny, "She said", max_new_tokens=20).text}
        assert len(found) == 6


def test_both_stay_where_they_fit(server):
    client, running = server
    for name in ("tiny", "talker"):
        assert client.post("/v1/completions", json={**GOOD, "model": name}).status_code == 200
    assert len(running.shelf.engines) == 2


def test_models_of_one_name_and_addresses_that_are_taken_are_refused(tmp_path, server):
    from zoo.serving.server import listening

    with (
        pytest.raises(UsageError, match="two models are called 'tiny'"),
        served(["tiny", talking_tiny(tmp_path, "tiny")]),
    ):
        pass
    with pytest.raises(UsageError, match="cannot listen at"):
        listening("127.0.0.1", server[0].base_url.port).listen()


@pytest.mark.slow
@pytest.mark.parametrize("grace", [0.2, 30.0], ids=["what is not done is cancelled", "what is begun is finished"])
def test_told_to_end_it_ends_within_the_bound(grace):
    words = f"serve tiny --port 0 --dtype float32 --grace {grace}".split()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from zoo.cli import main; main()", *words],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        asked = {"model": "tiny", "prompt": "She said", "max_tokens": 240, "stream": True, "logit_bias": {"2": -100}}
        for _ in range(100):
            try:
                client.get("/health")
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        with client.stream("POST", "/v1/completions", json=asked) as answer:
            lines = answer.iter_lines()
            next(lines)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            rest = [*lines] if grace > 1 else _until_cut(lines)
        if grace > 1:
            assert rest[-1] == "" or "[DONE]" in "".join(rest[-3:])
    assert process.wait(timeout=40) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < grace + 15


def _until_cut(lines):
    try:
        return [*lines]
    except httpx.HTTPError:
        return []
