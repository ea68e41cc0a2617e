"""Who means harm is answered or dropped within bounds, and no other request feels it."""

from __future__ import annotations

import json
import socket
import time

import httpx
import pytest

from tests.serving.serve import served

pytestmark = pytest.mark.slow  # each waits for a server

JSON = {"Content-Type": "application/json"}
GOOD = {"model": "tiny", "prompt": "She said", "max_tokens": 4}


@pytest.fixture(scope="module")
def tight():
    """A server with little patience."""
    with served(rows=2, queue=2, header_seconds=0.4, body_seconds=0.4, connections=6, header_bytes=4096) as pair:
        yield pair


def still_answers(client: httpx.Client) -> None:
    assert client.post("/v1/completions", json=GOOD).status_code == 200


def raw(client: httpx.Client, data: bytes, seconds: float = 5.0) -> bytes:
    """What comes back for these bytes until the server closes, which it must."""
    url = client.base_url
    with socket.create_connection((url.host, url.port), timeout=seconds) as sock:
        sock.sendall(data)
        found = b""
        try:
            while part := sock.recv(1 << 16):
                found += part
        except ConnectionError:
            pass
        return found


BODIES = {
    "deep": (b'{"prompt":' + b"[" * 100_000, "nested"),
    "deep and whole": (b'{"prompt":' + b"[" * 60 + b"]" * 60 + b"}", "nested"),
    "objects in objects": (b'{"a":' * 50_000, "nested"),
    "many small values": (b'{"prompt":[' + b"[]," * 1_300_000 + b"[]]}", ""),
    "a number of many digits": (b'{"prompt":"x","n":' + b"9" * 100_000 + b"}", ""),
    "NaN": (b'{"prompt":"x","temperature":NaN}', ""),
    "infinity": (b'{"prompt":"x","temperature":1e999}', ""),
    "a key twice": (b'{"prompt":"x","prompt":"y"}', "prompt"),
    "no object": (b'["prompt"]', ""),
    "not UTF-8": (b'{"prompt":"\xff"}', ""),
    "half a surrogate": (b'{"model":"tiny","prompt":"\\ud800"}', ""),
    "half a surrogate to stop at": (b'{"model":"tiny","prompt":"x","stop":"\\ud800"}', "surrogate"),
    "nothing": (b"", ""),
    "a number where a model is": (b'{"model":5,"prompt":"x"}', "there is no model"),
    "a path where a model is": (b'{"model":"../../../etc/passwd","prompt":"x"}', "there is no model"),
    "a token that is not there": (b'{"model":"tiny","prompt":[99999999]}', "outside the model's vocabulary"),
    "a token below all": (b'{"model":"tiny","prompt":[-1]}', "outside the model's vocabulary"),
    "no tokens": (b'{"model":"tiny","prompt":[[]]}', "has no tokens"),
    "a bias on a token that is not there": (
        b'{"model":"tiny","prompt":"x","logit_bias":{"99999999":1}}', "outside"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_refused_in_the_interfaces_form(client, name):
    body, words = BODIES[name]
    began = time.monotonic()
    answer = client.post("/v1/completions", content=body, headers=JSON)
    assert answer.status_code in (400, 404), answer.text[:300]
    assert words in answer.json()["error"]["message"]
    assert time.monotonic() - began < 10
    still_answers(client)


def test_a_schema_that_cannot_be_held_to_is_refused(client):
    pytest.importorskip("llguidance", reason="the extra form")
    asked = {"model": "talker", "messages": [{"role": "user", "content": "x"}]}
    for schema in ({"type": "\ud800"}, {"$ref": "#/nowhere"}, {"not": {}}):
        form = {"type": "json_schema", "json_schema": {"schema": schema}}
        answer = client.post(
            "/v1/chat/completions", content=json.dumps({**asked, "response_format": form}), headers=JSON
        )
        assert answer.status_code == 400, answer.text
    still_answers(client)


def test_other_types_and_addresses_are_refused(client):
    assert client.post("/v1/completions", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    for answer in (client.get("/v1/completions"), client.get("/../../etc/passwd"), client.post("/v1/models", json={})):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_pages_of_other_sites_and_names_that_point_here_are_refused(client):
    for headers in ({"Origin": "https://elsewhere.example"}, {"Host": "elsewhere.example"}, {"Origin": "null"}):
        answer = client.post("/v1/completions", json=GOOD, headers=headers)
        assert answer.status_code == 403
    assert client.get("/health", headers={"Origin": str(client.base_url).rstrip("/")}).status_code == 200


def test_a_body_of_100_megabytes_is_not_read(tight):
    client, _ = tight
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    found = raw(client, head + b"Content-Length: 100000000\r\n\r\n" + b" " * 1000)
    assert b" 413 " in found.splitlines()[0]
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as sock:
        sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            pour(sock)
    still_answers(client)


def pour(sock: socket.socket) -> None:
    """Send for as long as anybody takes it, ten seconds at most."""
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        sock.sendall(chunk)


def test_slow_bodies_and_slow_headers_are_given_up(tight):
    client, _ = tight
    began = time.monotonic()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    found = raw(client, head + b"Content-Length: 100\r\n\r\n{")
    assert b" 408 " in found.splitlines()[0]
    assert raw(client, b"GET /health HT") == b""
    assert raw(client, b"") == b""
    assert time.monotonic() - began < 5
    still_answers(client)


def trickle(sock: socket.socket) -> None:
    for number in range(100):
        sock.sendall(b"X-%d: a\r\n" % number)
        time.sleep(0.05)


def test_headers_that_trickle_gain_no_time(tight):
    client, _ = tight
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            trickle(sock)
    still_answers(client)


def test_a_flood_of_headers_is_refused(tight):
    client, _ = tight
    flood = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(1000))
    found = raw(client, b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + flood + b"\r\n")
    assert found == b"" or b" 4" in found.splitlines()[0]
    still_answers(client)


def test_more_connections_than_are_held_are_dropped(tight):
    client, _ = tight
    address = client.base_url.host, client.base_url.port
    held = [socket.create_connection(address, timeout=5) for _ in range(12)]
    time.sleep(0.2)
    gone = 0
    for sock in held:
        sock.settimeout(0.05)
        try:
            gone += sock.recv(1) == b""
        except TimeoutError:
            pass
        except ConnectionError:
            gone += 1
    for sock in held:
        sock.close()
    assert gone >= 6
    time.sleep(0.1)
    with httpx.Client(base_url=client.base_url, trust_env=False) as fresh:
        still_answers(fresh)


def test_a_full_queue_answers_429_and_says_when_to_come_back(tight, monkeypatch):
    client, server = tight
    with monkeypatch.context() as patched:
        patched.setattr(type(server.worker), "num_waiting", property(lambda worker: 2))
        for stream in (False, True):
            answer = client.post("/v1/completions", json={**GOOD, "stream": stream})
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    still_answers(client)


def test_who_goes_away_frees_the_rows(tight):
    client, server = tight
    long = {**GOOD, "max_tokens": 250, "logit_bias": {"2": -100}}
    for is_streamed in (True, False):
        try:
            with client.stream("POST", "/v1/completions", json={**long, "stream": is_streamed}, timeout=0.15) as answer:
                next(answer.iter_raw())
        except httpx.TimeoutException:
            pass
        engine = server.shelf.engines[0]
        for _ in range(100):
            if engine.is_idle:
                break
            time.sleep(0.02)
        assert engine.is_idle
    assert server.worker.counts["cancelled"] >= 1
    still_answers(client)


def test_the_key_is_asked_for():
    with served(key="sesame") as (client, _):
        assert client.get("/health").status_code == 200
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic sesame"},
                        {"Authorization": b"Bearer \xff\xfe"}):  # fmt: skip
            answer = client.get("/v1/models", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/models", headers={"Authorization": "Bearer sesame"}).status_code == 200


def test_an_error_of_the_model_is_answered_and_not_fatal(server, monkeypatch):
    client, running = server
    engine = running.shelf.volumes["tiny"].engine
    monkeypatch.setattr(engine.group, "read", lambda: 1 / 0)
    answer = client.post("/v1/completions", json=GOOD)
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    still_answers(client)
