"""The same random weights in zoo and in transformers, in one process: first that they say the same, then in turns.

`python tools/bench/pair.py CASE` prints what it found as JSON; `rows` runs that in a process on as many cores as it has
threads. A case is a preset with overrides, and the work to do with it: each a name, what to do, the tokens [B, T], and
how zoo is to generate.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from turns import Clocked, clock, differences, ratio, spread, took

CACHING = {"PYTHONDONTWRITEBYTECODE": ""}  # what Python and torch compile is kept
Action = Callable[[], Any]
# How far the largest logit difference may be from the largest logit: rounding in the type, over some thirty layers.
TOLERANCE = {"float32": 2e-4, "float16": 8e-3, "bfloat16": 6e-2}
SHORT = 256  # tokens: the slowest way takes minutes for thousands
EXPERTS = ("eager", "batched_mm", "grouped_mm")  # the ways in which transformers computes a mixture


def rows(case: dict[str, Any], *, threads: int = 2) -> list[list[str]]:
    """The rows of a case. Raises SystemExit where the two sides differ, or one cannot run."""
    pin = ["taskset", "-c", ",".join(map(str, range(threads)))] if shutil.which("taskset") else []
    words = [*pin, sys.executable, str(Path(__file__).resolve()), json.dumps(case | {"threads": threads})]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | CACHING, check=False)
    if done.returncode:
        raise SystemExit(f"{case['preset']}: {done.stderr[-2000:]}")
    return [shown(found) for found in json.loads(done.stdout.splitlines()[-1])]


class Pair:
    """A model in zoo and in transformers, both read from a folder that zoo saved."""

    def __init__(self, case: dict[str, Any], folder: str) -> None:
        import torch
        import transformers

        import zoo
        from zoo.models.transformers_library import read_model

        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        dtype = case.get("dtype", "float32")
        if (preset := case["preset"]) == "tiny":
            self.ours: Any = zoo.load("tiny", dtype=dtype)
            home = zoo.save(self.ours, Path(folder) / "hf", format="hf")
        else:
            made = zoo.build(preset, *case.get("overrides", ()), device="cpu", dtype=dtype)
            home = zoo.save(made, Path(folder) / "hf", format="hf")
            del made
            self.ours = zoo.load(home)
        kind = getattr(transformers, case.get("kind", "AutoModelForCausalLM"))
        self.theirs = read_model(kind, home, dtype=getattr(torch, dtype)).eval()
        self.dtype = dtype
        self._agreed: list[Any] = []  # the tokens for which the logits did

    def take(self, work: dict[str, Any]) -> None:
        """What the next turns do, and with which tokens."""
        import torch

        self.what, self.new = work["what"], work.get("new", 16)
        self.options = work.get("options", {})
        seed = torch.Generator().manual_seed(0)
        vocabulary = self.theirs.config.get_text_config().vocab_size
        self.ids = torch.randint(5, min(vocabulary, 1000), tuple(work["tokens"]), generator=seed)

    def check(self) -> None:
        """Raise SystemExit unless the logits agree, and the greedy tokens where rounding cannot decide them.

        Whatever is timed has run once when this returns.
        """
        if self.what != "decode" or not any(self.ids.equal(ids) for ids in self._agreed):
            a, b = self.logits()
            worst, most = (a.float() - b.float()).abs().max().item(), b.float().abs().max().item()
            if not worst <= TOLERANCE[self.dtype] * most:
                raise SystemExit(f"the logits differ by {worst:.3g} where the largest is {most:.3g}: nothing was timed")
            self._agreed.append(self.ids)
        if self.what == "decode":
            ours, theirs = self._ours(self.new)[0], self._theirs(self.new)[0]
            if ours != theirs and self.dtype == "float32":
                raise SystemExit(f"the texts differ: {ours} and {theirs}: nothing was timed")

    def settle_experts(self) -> None:
        """Let transformers compute a mixture in the way that is fastest for this work, after a short prompt."""
        if not getattr(self.ours.config, "num_experts", None):
            return
        seconds, whole = {}, self.ids
        self.ids = whole[:, :SHORT]
        for way in EXPERTS:
            self.theirs.set_experts_implementation(way)
            with in_memory(), suppress(RuntimeError):  # one gathers the weights of every token's experts
                seconds[way] = min(self.turn_of_theirs() for _ in range(2))
        self.theirs.set_experts_implementation(min(seconds, key=seconds.__getitem__))
        self.ids = whole

    def logits(self) -> tuple[Any, Any]:
        """Of the last position on either side, or all states of an encoder."""
        ours, theirs = self.pass_of_each()
        return ours(), theirs()

    def pass_of_each(self) -> tuple[Action, Action]:
        """Reading all tokens at once."""
        import torch

        if self.what == "encode":
            return (
                lambda: self.ours(self.ids).logits,
                lambda: self.theirs(input_ids=self.ids).logits,
            )
        if self.theirs.config.is_encoder_decoder:
            first = torch.zeros((len(self.ids), 1), dtype=torch.long)
            return (
                lambda: self.ours(self.ids, first)[:, -1],
                lambda: self.theirs(input_ids=self.ids, decoder_input_ids=first).logits[:, -1],
            )
        return (
            lambda: self.ours(self.ids, last=True)[:, -1],
            lambda: self.theirs(input_ids=self.ids, logits_to_keep=1, use_cache=False).logits[:, -1],
        )

    def _ours(self, new: int) -> tuple[list[int], list[float]]:
        """What zoo writes, and when each token was there."""
        from zoo.generation.config import GenerationConfig
        from zoo.generation.job import open_job

        ledger = getattr(self.ours, "ledger", None)
        config = GenerationConfig() if ledger is None else ledger.settings()[0]
        job = open_job(self.ours, self.ids, config.updated(max_new_tokens=new, eos_token_id=[]), **self.options)
        times = [clock() for _ in job.steps()]  # what zoo.generate does
        return job.rows[0].tokens, times

    def _theirs(self, new: int) -> tuple[list[int], list[float]]:
        """The same of transformers, which tells a streamer of each token."""
        import torch

        words = {"attention_mask": torch.ones_like(self.ids), "do_sample": False, "pad_token_id": 0}
        told = Clocked()
        made = self.theirs.generate(
            self.ids, max_new_tokens=new, min_new_tokens=new, eos_token_id=None, streamer=told, **words
        )
        return [*map(int, made[0])][-new:], told.times[-new:]  # the prompt comes first

    def turn(self) -> tuple[float, float]:
        """Seconds of a token, without the first, or of a pass, on either side."""
        ours = self.of_a_token(self._ours) if self.what == "decode" else took(self.pass_of_each()[0])
        return ours, self.turn_of_theirs()

    def turn_of_theirs(self) -> float:
        """The same of transformers alone."""
        return self.of_a_token(self._theirs) if self.what == "decode" else took(self.pass_of_each()[1])

    def of_a_token(self, write: Callable[[int], tuple[list[int], list[float]]]) -> float:
        """Of the middle one: on a machine with other work some take many times as long."""
        return median(differences(write(self.new)[1]))


@contextmanager
def in_memory() -> Iterator[None]:
    """Let torch raise RuntimeError where it asks for more than there is, before the system ends the process."""
    told = Path("/proc/self/status").read_text() + Path("/proc/meminfo").read_text()
    held, free = (int(told.split(f"{name}:")[1].split()[0]) << 10 for name in ("VmData", "MemAvailable"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def measured(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each work: seconds of each turn on either side, and the limit where one is asked for."""
    import torch

    torch.set_num_threads(case["threads"])
    with TemporaryDirectory(prefix="zoo-bench-") as folder:
        pair = Pair(case, folder)  # before: what is made for inference alone is not compiled
    found = []
    with torch.inference_mode():
        for work in case["work"]:
            pair.take(work)
            pair.settle_experts()
            pair.check()
            turns = [pair.turn() for _ in range(work.get("repeats", 5))]
            ours, theirs = ([turn[side] for turn in turns] for side in (0, 1))
            found.append({"name": work["name"], "ours": ours, "theirs": theirs, "limit": limit(pair, work)})
    return found


def limit(pair: Pair, work: dict[str, Any]) -> float | None:
    """Seconds that a token, or a pass, takes at least on this machine; None where nobody asks."""
    import torch
    from limits import bandwidth, gemm

    weights = {p.data_ptr(): p for p in pair.ours.parameters()}.values()
    if work.get("limit") == "bandwidth":
        return sum(p.nbytes for p in weights) / bandwidth()
    if work.get("limit") == "gemm":
        embedding = pair.ours.config.vocab_size * pair.ours.config.hidden_size  # the head's product is of one row
        products = 2 * (sum(p.numel() for p in weights) - embedding) * pair.ids.numel()
        return products / gemm(getattr(torch, pair.dtype))
    return None


def shown(found: dict[str, Any]) -> list[str]:
    """A row of a table: zoo, transformers, how many times as fast, and the share of the limit."""
    sides = [spread(found[side], "ms", 1000) for side in ("ours", "theirs")]
    least = found["limit"]
    share = ["", ""] if least is None else [f"{1000 * least:.3g} ms", f"{least / median(found['ours']):.0%}"]
    return [found["name"], *sides, ratio(found["ours"], found["theirs"]), *share]


HEAD = ["", "zoo", "transformers", "times as fast", "the machine's limit", "zoo reaches"]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measured(json.loads(sys.argv[1]))))
