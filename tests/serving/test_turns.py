"""Two models that do not fit into memory together take turns, in the order in which they were asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import httpx
import pytest

from tests.serving.serve import served, talking_tiny
from zoo.errors import UsageError
from zoo.generation import generate

pytestmark = pytest.mark.slow

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
    told = client.post("/v1/completions", json={"prompt": "She said"})
    assert (told.status_code, told.json()["error"]["message"]) == (
        400, "model is not said, and there are several\nknown: tiny, talker",
    )  # fmt: skip


def test_models_of_one_name_and_addresses_that_are_taken_are_refused(tmp_path, server):
    from zoo.serving.server import listening

    with (
        pytest.raises(UsageError, match="two models are called 'tiny'"),
        served(["tiny", talking_tiny(tmp_path, "tiny")]),
    ):
        pass
    with pytest.raises(UsageError, match="cannot listen at"):
        listening("127.0.0.1", server[0].base_url.port).listen()


LONG = {"model": "tiny", "prompt": "She said", "max_tokens": 200, "stream": True, "logit_bias": {"2": -100}}


def test_told_to_end_it_finishes_what_is_begun():
    with served(grace_seconds=60) as (client, server), client.stream("POST", "/v1/completions", json=LONG) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.should_exit = True
        rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert '"finish_reason": "length"' in rest[-2]
    assert server.worker.counts["cancelled"] == 0


def test_a_signal_ends_it_within_the_bound():
    """A process of its own: SIGTERM, and what is not done by then is cut off."""
    words = "serve tiny --port 0 --dtype float32 --grace 0.1".split()
    process = subprocess.Popen(
        [sys.executable, "-c", "from zoo.cli import main; main()", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with (
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
        client.stream("POST", "/v1/completions", json=LONG) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        with suppress(httpx.HTTPError):
            list(lines)
    assert process.wait(timeout=30) == -signal.SIGTERM
