"""Many clients at once who ask for random things and go away at random: `python tools/bench/crowd.py --seconds 60`.

Ends with 0 if nothing hung, memory was flat once it had settled, and every finished text is that of its single run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import httpx

ALLOWANCE = 12 << 20  # bytes that a heap may grow by without a leak


def pool(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Requests to draw from."""
    found = []
    for number in range(count):
        temperature = rng.choice([0.0, 0.0, 0.7, 1.0, 1.4])
        asked = {"model": "tiny", "prompt": [1, *(rng.randrange(3, 2000) for _ in range(rng.randrange(1, 90)))],
                 "max_tokens": rng.randrange(1, 90), "temperature": temperature, "seed": number}  # fmt: skip
        if temperature and rng.random() < 0.4:
            asked["top_p"] = 0.9
        if rng.random() < 0.2:
            asked["presence_penalty"] = 0.5
        found.append(asked)
    return found


class Crowd:
    """Clients in threads, and what they got."""

    def __init__(self, address: str, requests: list[dict[str, Any]], seconds: float, seed: int) -> None:
        self.address, self.requests, self.seed = address, requests, seed
        self.end = time.monotonic() + seconds
        self.texts: dict[int, set[str]] = {}
        self.counts = {"finished": 0, "gone": 0, "refused": 0, "errors": 0}
        self.slowest = 0.0
        self._lock = threading.Lock()

    def run(self, clients: int) -> None:
        """All of them, until time is up."""
        threads = [threading.Thread(target=self._client, args=(number,), daemon=True) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        if any(thread.is_alive() for thread in threads):
            raise SystemExit("a client hangs")

    def _client(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        with httpx.Client(base_url=self.address, timeout=90, trust_env=False) as client:
            while time.monotonic() < self.end:
                began = time.monotonic()
                self._ask(client, rng)
                self.slowest = max(self.slowest, time.monotonic() - began)

    def _ask(self, client: httpx.Client, rng: random.Random) -> None:
        index = rng.randrange(len(self.requests))
        asked = self.requests[index]
        leaves_after = rng.choice([None, None, None, rng.randrange(0, 30)])
        try:
            if rng.random() < 0.5 and leaves_after is None:
                answer = client.post("/v1/completions", json=asked)
                text = answer.json()["choices"][0]["text"] if answer.status_code == 200 else None
                self._count("finished" if text is not None else "refused", index, text)
            else:
                text = streamed(client, asked, leaves_after)
                self._count("gone" if text is None else "finished", index, text)
        except (httpx.HTTPError, KeyError, ValueError):
            self._count("errors", index, None)

    def _count(self, what: str, index: int, text: str | None) -> None:
        with self._lock:
            self.counts[what] += 1
            if text is not None:
                self.texts.setdefault(index, set()).add(text)


def streamed(client: httpx.Client, asked: dict[str, Any], leaves_after: int | None) -> str | None:
    """The text in pieces; None for who leaves before its end."""
    text, count = "", 0
    with client.stream("POST", "/v1/completions", json={**asked, "stream": True}) as answer:
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                return text
            if line.startswith("data: "):
                text += json.loads(line[6:])["choices"][0]["text"]
                count += 1
                if leaves_after is not None and count > leaves_after:
                    return None
    raise ValueError("the stream was cut")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def watch(pid: int, sizes: list[int], seconds: float) -> None:
    """Note the memory four times a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            sizes.append(resident(pid))
        time.sleep(0.25)


def wrong(texts: dict[int, set[str]], requests: list[dict[str, Any]]) -> int:
    """How many of the finished texts are not those of their single runs."""
    import zoo

    model = zoo.load("tiny", dtype="float32")
    count = 0
    for index, found in texts.items():
        asked = requests[index]
        settings = {name: asked[name] for name in ("temperature", "seed", "top_p", "presence_penalty") if name in asked}
        tokenizer = model.ledger.tokenizer
        out = zoo.generate(
            model, [asked["prompt"]], tokenizer=tokenizer, max_new_tokens=asked["max_tokens"], **settings
        )
        count += found != {out.text}
    return count


def main() -> None:
    """Serve, crowd, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pool", type=int, default=48, help="different requests: each single run is computed once")
    given = parser.parse_args()
    words = "serve tiny --port 0 --dtype float32 --rows 8 --queue 64".split()
    server = subprocess.Popen(
        [sys.executable, "-c", "from zoo.cli import main; main()", *words], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    time.sleep(0.5)
    sizes: list[int] = []
    threading.Thread(target=watch, args=(server.pid, sizes, given.seconds), daemon=True).start()
    requests = pool(random.Random(given.seed), given.pool)
    crowd = Crowd(address, requests, given.seconds, given.seed)
    crowd.run(given.clients)
    with httpx.Client(base_url=address, trust_env=False) as client:
        time.sleep(0.5)
        measures = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    server.terminate()
    server.wait(30)
    settled = len(sizes) // 3
    early, late = max(sizes[: 2 * settled]), max(sizes[2 * settled :])
    report = {
        **crowd.counts, "tokens": int(measures["zoo_tokens_total"]), "slowest_seconds": round(crowd.slowest, 2),
        "reread": int(measures['zoo_reread_total{model="tiny"}']),
        "rows_left": int(measures['zoo_rows{model="tiny"}']), "waiting_left": int(measures["zoo_waiting"]),
        "requests": len(crowd.texts), "wrong": wrong(crowd.texts, requests),
        "MB_early": early >> 20, "MB_late": late >> 20,
    }  # fmt: skip
    print(json.dumps(report))
    is_flat = late < early + ALLOWANCE
    is_over = report["rows_left"] == report["waiting_left"] == 0
    sys.exit(0 if is_flat and is_over and not report["wrong"] and not report["errors"] and report["finished"] else 1)


if __name__ == "__main__":
    main()
