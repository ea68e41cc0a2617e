"""A benchmark, its processes stood in for, and what it measures and how."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

import zoo
from zoo.errors import UsageError, ZooError, ZooWarning
from zoo.measurement import environment
from zoo.measurement.speed import benchmark, memory, process, theirs, worker
from zoo.measurement.speed.benchmark import Benchmark, duel
from zoo.measurement.speed.job import Job, prompt_of, run
from zoo.measurement.speed.own import ZooRunner
from zoo.models.construction import count
from zoo.registry import installed

TINY = installed()["llama"].config_class.tiny()


# a benchmark, its processes stood in for


class Fake:
    """A process that answers from a script: seconds by engine."""

    SECONDS: ClassVar[dict[str, Any]] = {"zoo": [(9.0, 9.0), (0.5, 2.0), (0.25, 4.0), (1.0, 1.0)],
               "transformers": [(9.0, 9.0), (1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]}  # fmt: skip
    made: ClassVar[list[Fake]] = []

    def __init__(self, job: Job) -> None:
        self.job, self.runs = job, iter(self.SECONDS[job.engine])
        self.made.append(self)

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *error: object) -> None: ...

    def load(self) -> dict[str, Any]:
        return {"dtype": "bfloat16", "parameters": 11, "formula_bytes": 96, "notes": ["a note"]}

    def run(self) -> dict[str, Any]:
        read, decode = next(self.runs)
        tokens = [1, 2, 3, 4] if self.job.engine == "zoo" else [1, 2, 0, 4]
        return {"first_token": read, "decode": decode, "tokens": tokens, "cache_bytes": 99}

    def end(self) -> dict[str, Any]:
        return {"peak_bytes": 5}


@pytest.fixture
def _faked(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake.made = []
    monkeypatch.setattr(benchmark, "Process", Fake)


@pytest.mark.usefixtures("_faked")
def test_rates_ratios_and_agreement_follow_from_the_seconds() -> None:
    heard: list[str] = []
    job = Job("src", prompt=6, new=8, batch=2, seed=3)
    with pytest.warns(ZooWarning, match="a note"):
        found = duel("name", job, repeats=3, against="transformers", tell=heard.append)
    ours, rival = found.models
    # 12 tokens read in 0.5, 0.25 and 1 s; 16 written in 2, 4 and 1 s; the first run, of 9 s, does not count
    assert ours["prefill"] == {"median": 24.0, "least": 12.0, "most": 48.0}
    assert ours["decode"] == {"median": 8.0, "least": 4.0, "most": 16.0}
    assert ours["first_token"] == {"median": 0.5, "least": 0.25, "most": 1.0}
    assert (ours["cache"], ours["memory"]) == ({"bytes": 99, "formula_bytes": 96}, {"peak_bytes": 5})
    assert ours["runs"][0] == {"first_token": 0.5, "decode": 2.0}
    assert (ours["engine"], rival["engine"]) == ("zoo", "transformers")
    assert found.ratios == {
        "prefill": {"median": 2.0, "least": 1.0, "most": 4.0}, "decode": {"median": 0.5, "least": 0.5, "most": 3.0}
    }  # fmt: skip
    assert found.same_tokens == 3 / 4
    assert [p.job.dtype for p in Fake.made] == [None, "bfloat16"]
    assert heard[-3:] == ["run 1 of 3", "run 2 of 3", "run 3 of 3"]
    assert len(heard) == 5
    told = json.loads(json.dumps(found.to_dict()))
    assert told | {"models": 0, "environment": 0} == {
        "model": "name", "weights": "src", "is_random": False, "prompt": 6, "new": 8, "batch": 2, "device": "cpu",
        "repeats": 3, "models": 0, "ratios": found.ratios, "same_tokens": 0.75, "environment": 0,
    }  # fmt: skip


@pytest.mark.usefixtures("_faked")
def test_alone_there_is_no_ratio_and_random_weights_say_nothing_alike() -> None:
    with pytest.warns(ZooWarning):
        alone = duel("name", Job("src"), repeats=1)
    assert (alone.ratios, alone.same_tokens, len(alone.models)) == ({}, None, 1)
    job = Job(config=TINY.to_dict(), seed=5)
    with pytest.warns(ZooWarning):
        drawn = duel("name", job, repeats=1, against="transformers")
    assert drawn.same_tokens is None
    told = drawn.to_dict()
    assert (told["weights"], told["is_random"]) == ("random, seed 5", True)
    for wrong in ({"repeats": 0}, {"against": "vllm"}, {"against": "zoo"}):
        with pytest.raises(UsageError):
            duel("name", job, **wrong)
    assert isinstance(drawn, Benchmark)


class Child:
    """A child process that says these lines."""

    def __init__(self, *lines: str, code: int = 1) -> None:
        self.stdin, self.stdout, self.code = io.StringIO(), io.StringIO("".join(f"{line}\n" for line in lines)), code
        self.is_killed = self.is_read = False

    def wait(self) -> int:
        return self.code

    def kill(self) -> None:
        self.is_killed = True

    def communicate(self) -> None:
        self.is_read = True


def conversation(child: Child, monkeypatch: pytest.MonkeyPatch) -> process.Process:
    def start(words: list[str], **streams: Any) -> Child:
        assert words[1:] == ["-P", "-m", "zoo.measurement.speed.worker"]
        return child

    monkeypatch.setattr(process.subprocess, "Popen", start)
    return process.Process(Job("src", prompt=3))


def test_a_process_is_asked_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child('{"a": 1}', '{"b": 2}', '{"c": 3}')
    with conversation(child, monkeypatch) as asked:
        assert (asked.load(), asked.run(), asked.end()) == ({"a": 1}, {"b": 2}, {"c": 3})
        said = [json.loads(line) for line in child.stdin.getvalue().splitlines()]
        assert said[0]["prompt"] == 3
        assert said[1:] == ["run", "end"]
    assert (child.is_killed, child.is_read) == (False, True)


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (1, ZooError), (5, ZooError)])
def test_an_error_of_the_child_is_the_parents(code: int, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"error": {"what": "w", "why": "y", "hint": "h", "exit_code": code}}
    child = Child(json.dumps(told))
    with pytest.raises(ZooError) as caught, conversation(child, monkeypatch) as asked:
        asked.load()
    assert type(caught.value) is kind
    assert (caught.value.what, caught.value.why, caught.value.hint, caught.value.exit_code) == ("w", "y", "h", code)
    assert child.is_killed


def test_a_child_that_died_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = conversation(Child(code=3), monkeypatch)
    asked._workers[0]._said.write(b"first\nlast words\n")
    with pytest.raises(ZooError, match="code 3") as caught:
        asked.run()
    assert caught.value.why == "last words"
    with pytest.raises(ZooError) as caught:
        conversation(Child(code=-9), monkeypatch).run()
    assert "memory" in caught.value.why
    with pytest.raises(ZooError) as caught:
        conversation(Child(code=4), monkeypatch).run()
    assert caught.value.why == ""
    broken = Child(code=6)
    broken.stdin = SimpleNamespace(write=_broken, flush=lambda: None)  # type: ignore[assignment]
    with pytest.raises(ZooError, match="code 6"):
        conversation(broken, monkeypatch).run()


def _broken(text: str) -> None:
    raise BrokenPipeError


def test_the_worker_answers_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(config=TINY.to_dict(), prompt=5, new=3, batch=2, seed=1)
    lines = [json.dumps(job.to_dict()), '"run"', '"end"', '"run"']
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))
    said = io.StringIO()
    worker._serve(said)
    facts, ran, ended = map(json.loads, said.getvalue().splitlines())
    model = zoo.build(TINY, device="cpu", seed=1)
    assert (facts["dtype"], facts["parameters"], facts["notes"]) == ("float32", count(model), [])
    assert facts["formula_bytes"] == ran["cache_bytes"] > 0
    tokens = prompt_of(job, TINY.vocab_size)
    for _ in range(4):
        tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(-1)[:, None]], 1)
    assert ran["tokens"] == tokens[0, 5:].tolist()
    assert 0 < ended["baseline_bytes"] <= ended["peak_bytes"]
    assert worker._runner("zoo") is ZooRunner
    assert worker._runner("transformers") is theirs.TransformersRunner


def test_prompts_are_drawn_from_the_seed_alone() -> None:
    one, again, other = (prompt_of(Job("x", prompt=7, batch=3, seed=seed), 50) for seed in (1, 1, 2))
    assert one.shape == (3, 7)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert int(one.max()) < 50
    assert Job("x", prompt=7, new=3).total == 10
    none = prompt_of(Job("x", prompt=99, seed=1), 5, {0, 3, 77})
    assert {*none.flatten().tolist()} == {1, 2, 4}
    assert int(none[none != 1].bincount()[2]) == int((prompt_of(Job("x", prompt=99, seed=1), 5) == 2).sum())
    for wrong in ({"prompt": 0}, {"new": 0}, {"batch": 0}, {"engine": "vllm"}):
        with pytest.raises(UsageError):
            Job("x", **wrong)  # type: ignore[arg-type]
    Job("x", prompt=1, new=1, batch=1)


def test_a_run_takes_as_many_steps_as_are_asked_for() -> None:
    steps: list[Any] = []

    def step(tokens: torch.Tensor, cache: Any) -> Any:
        steps.append((tuple(tokens.shape), cache))
        return tokens[:, -1] + 1, len(steps)

    runner = SimpleNamespace(step=step, begin=lambda: "empty", cache_bytes=lambda cache: cache * 10)
    found = run(runner, torch.tensor([[1, 2], [5, 6]]), 3)  # type: ignore[arg-type]
    assert steps == [((2, 2), "empty"), ((2, 1), 1), ((2, 1), 2), ((2, 1), 3)]
    assert (found.tokens, found.cache_bytes) == ([3, 4, 5, 6], 40)
    assert 0 < found.first_token < 1
    assert 0 < found.decode < 1


def test_a_model_has_room_for_its_whole_text_and_no_more() -> None:
    longest = TINY.max_seq_len
    ZooRunner(Job(config=TINY.to_dict(), prompt=longest - 1, new=1))
    with pytest.raises(UsageError, match=f"{longest + 1} tokens"):
        ZooRunner(Job(config=TINY.to_dict(), prompt=longest, new=1))
    with pytest.raises(UsageError):
        ZooRunner(Job(config=installed()["bert"].config_class.tiny().to_dict(), prompt=1, new=1))


def test_memory_is_the_kernels_high_water_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    import resource

    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=7))
    assert memory.peak_bytes() == 7 * 1024
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.peak_bytes() == 7
    (tmp_path / "status").write_text("VmPeak:  99 kB\nVmHWM:\t  12 kB\n")
    assert memory.peak_bytes() == 12 * 1024
    assert memory.peak(SimpleNamespace(type="cpu"), 5) | {"how": ""} == {
        "peak_bytes": 12 * 1024, "baseline_bytes": 5, "how": ""
    }  # fmt: skip
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 44)
    assert memory.peak(SimpleNamespace(type="cuda"), 5) == {"peak_bytes": 44, "baseline_bytes": 0, "how": "torch.cuda"}


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    import subprocess

    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    assert environment._described(tmp_path) is None
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert environment._described(tmp_path) == head[:12]
    (tmp_path / "a").write_text("2")
    assert environment._described(tmp_path) == f"{head[:12]}-dirty"
