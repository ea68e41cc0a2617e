"""Tokens per second, one client against eight: `python tools/bench/serving.py [tiny|smollm2] [--theirs]`.

Every round asks the same with one client and with eight; what is told are medians over rounds, behind one that does not
count (it opens the model and warms what caches there are). Clients are in this process, the server is in its own.
`smollm2` is SmolLM2-135M's shape with random weights. `--theirs` asks `transformers serve` for chats besides, where it
is installed (transformers[serving]).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def made(name: str, folder: Path) -> tuple[Path, int]:
    """A folder with a model, and the size of its vocabulary."""
    import zoo

    target = folder / name
    box = Path(zoo.__file__).parent / "box" / "tiny"
    if name == "tiny":
        shutil.copytree(box, target)
    else:
        zoo.build("smollm2-135m", device="cpu", dtype="float32", seed=0).save_pretrained(target)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(box / file, target / file)
    (target / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return target, json.loads((target / "config.json").read_text(encoding="utf-8"))["vocab_size"]


@contextmanager
def running(words: list[str]) -> Iterator[tuple[str, int]]:
    """A server's address and process, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([*words, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if server.poll() is not None:
                raise SystemExit(f"{words[0]} has ended with {server.returncode}")
            try:
                if httpx.get(f"{address}/health", trust_env=False).status_code < 500:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield address, server.pid
    finally:
        server.terminate()
        server.wait(60)


def cpu_seconds(pid: int) -> float:
    """What a process and its threads have computed so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def speed(address: str, server: int, path: str, requests: list[dict[str, Any]], clients: int) -> tuple[float, float]:
    """Tokens per second, and per second of the server's CPU, over all requests, shared among so many clients."""
    counts: list[int] = []

    def client(mine: list[dict[str, Any]]) -> None:
        with httpx.Client(base_url=address, timeout=600, trust_env=False) as asking:
            for asked in mine:
                answer = asking.post(path, json=asked)
                answer.raise_for_status()
                counts.append(answer.json()["usage"]["completion_tokens"])

    threads = [threading.Thread(target=client, args=(requests[number::clients],)) for number in range(clients)]
    began, spent = time.perf_counter(), cpu_seconds(server)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began), sum(counts) / (cpu_seconds(server) - spent)


def told(name: str, address: str, server: int, path: str, requests: list[dict[str, Any]], rounds: int) -> None:
    """Print one client and eight; on a busy machine, the CPU tells more than the clock."""
    speed(address, server, path, requests[:8], 8)
    found = [[speed(address, server, path, requests, clients) for clients in (1, 8)] for _ in range(rounds)]
    for what, number in (("second", 0), ("second of CPU", 1)):
        one, eight = (statistics.median(of_round[which][number] for of_round in found) for which in (0, 1))
        times = sorted(eight[number] / one[number] for one, eight in found)
        print(
            f"{name}: {one:.0f} tok by one client, {eight:.0f} by eight in a {what}: "
            f"{statistics.median(times):.1f} times ({times[0]:.1f}..{times[-1]:.1f})",
            flush=True,
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="tiny", choices=["tiny", "smollm2"])
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--theirs", action="store_true")
    given = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        folder, vocab_size = made(given.model, Path(place))
        how = {"temperature": 0, "max_tokens": given.tokens, "model": folder.name}
        prompts = [[rng.randrange(3, vocab_size) for _ in range(24)] for _ in range(given.requests)]
        asked = [{**how, "prompt": prompt, "repetition_penalty": 1.0} for prompt in prompts]
        ours = [sys.executable, "-c", "from zoo.cli import main; main()", "serve", str(folder), "--dtype", "float32"]
        with running(ours) as (address, server):
            told(f"zoo serve {given.model}", address, server, "/v1/completions", asked, given.rounds)
        if given.theirs:
            words = [" ".join(rng.choice(["the", "man", "said", "was", "not"]) for _ in range(24)) for _ in prompts]
            chats = [
                {"model": str(folder), "max_tokens": given.tokens, "messages": [{"role": "user", "content": text}],
                 "generation_config": json.dumps({"do_sample": False, "max_new_tokens": given.tokens,
                                                  "min_new_tokens": given.tokens})}
                for text in words
            ]  # fmt: skip
            theirs = [shutil.which("transformers") or "transformers", "serve", str(folder)]
            with running([*theirs, "--dtype", "float32"]) as (address, server):
                told(f"transformers serve {given.model}", address, server, "/v1/chat/completions", chats, given.rounds)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
