"""The parts of a measurement, against numpy and arithmetic, with models, processes and libraries stood in for."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import zoo
from zoo import comparison
from zoo.checkpoint.inspection import Ledger
from zoo.comparison import measured as comparing
from zoo.errors import UsageError, ZooError, ZooWarning
from zoo.generation import GenerationConfig
from zoo.measurement import agreement, continuations, environment, measuring
from zoo.measurement.agreement import Agreement
from zoo.measurement.continuations import Continuation, first_difference, parted
from zoo.measurement.passages import Passage, Window, windows
from zoo.measurement.perplexity import Reading
from zoo.measurement.record import Measured
from zoo.measurement.speed import benchmark, memory, process, theirs, worker
from zoo.measurement.speed.benchmark import Benchmark, duel
from zoo.measurement.speed.job import Job, prompt_of, run
from zoo.measurement.speed.own import ZooRunner
from zoo.measurement.subject import check_decoder, main_dtype, open_source
from zoo.models.construction import count
from zoo.registry import installed

TINY = installed()["llama"].config_class.tiny()


def passage(num_tokens: int) -> Passage:
    return Passage("x" * num_tokens, list(range(num_tokens)), [(i, i + 1) for i in range(num_tokens)], 1, True)


# numbers of two readings


def test_agreement_is_that_of_numpy_in_float64() -> None:
    rng = np.random.default_rng(0)
    kl, losses = rng.random(7).astype(np.float32) * 1e-3, rng.standard_normal(9).astype(np.float32)
    kl[4] = 2.0
    same = np.array([True] * 7 + [False] * 2)
    told = Agreement(*map(torch.from_numpy, (kl, same, losses))).to_dict()
    assert told == {
        "tokens": 9, "agreement": 7 / 9, "kl": kl.astype(np.float64).mean(), "kl_tokens": 7,
        "kl_largest": float(kl[4]), "kl_largest_at": 4,
        "loss_difference": pytest.approx(losses.astype(np.float64).mean(), rel=1e-15),
        "loss_difference_largest": float(np.abs(losses).max()),
    }  # fmt: skip


def test_a_long_text_is_summed_in_float64() -> None:
    """2^24 + 1 is no float32, so that its sum would stop at 2^24."""
    losses = torch.tensor([2.0**24, 1.0, 1.0, 1.0])
    found = Reading(passage(5), 4, 4, losses, torch.zeros(4, dtype=torch.long))
    assert found.nats == 2.0**24 + 3
    assert found.perplexity == math.exp(700)
    assert Agreement(losses, losses > 0, losses).mean_kl == (2.0**24 + 3) / 4
    spread = torch.tensor([1.0, 2.0**-26]).log()
    terms = agreement.kl_divergence(torch.stack([spread]), torch.stack([spread - 1]))
    assert terms.item() == pytest.approx(1 + 2.0**-26)


def test_two_readings_differ_by_the_other_less_the_first() -> None:
    one, other = (
        Reading(passage(3), 2, 2, torch.tensor(losses), torch.tensor(best))
        for losses, best in (([1.0, 4.0], [1, 2]), ([3.0, 3.5], [1, 0]))
    )
    found = agreement.compare(one, other, SimpleNamespace(kl=torch.tensor([0.5])))  # type: ignore[arg-type]
    assert (found.losses.tolist(), found.same.tolist(), found.kl.tolist()) == ([2.0, -0.5], [True, False], [0.5])
    assert (one.accuracy, other.accuracy) == (1.0, 0.5)
    assert one.to_dict()["begins_with"] == "bos"
    assert agreement.KEPT_BYTES == 2 << 30


def test_continuations_part_at_their_first_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [first_difference(a, b) for a, b in (([], []), ([1], []), ([1, 2], [1, 3]), ([1, 2], [1, 2]))] == [
        None, 0, 1, None
    ]  # fmt: skip
    asked: list[Any] = []

    def generate(model: Any, prompt: str, *, tokenizer: Any, config: GenerationConfig) -> Any:
        asked.append((model, prompt, tokenizer, config.temperature, config.max_new_tokens))
        return SimpleNamespace(text=f"{model}{prompt}", new_tokens=[[len(asked), 7], [9]])

    monkeypatch.setattr(continuations, "generate", generate)
    found = continuations.continuations("m", "t", ["a", "b"])  # type: ignore[arg-type]
    assert asked == [
        ("m", "a", "t", 0.0, 32),
        ("m", "b", "t", 0.0, 32),
        ("m", "a", "t", 1.0, 32),
        ("m", "b", "t", 1.0, 32),
    ]
    assert [(c.way, c.prompt, c.text, c.tokens) for c in found[1:3]] == [
        ("greedy", "b", "mb", [2, 7]), ("seeded", "a", "ma", [3, 7])
    ]  # fmt: skip
    other = [Continuation(c.way, c.prompt, "x", [c.tokens[0], 8]) for c in found]
    assert [(c.parts_at, c.text, c.tokens[1]) for c in parted(found, other)] == [(1, "x", 8)] * 4


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
    asked._said.write(b"first\nlast words\n")
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


def test_the_dtype_of_a_model_is_that_of_most_of_its_numbers() -> None:
    model = torch.nn.ModuleList([torch.nn.Linear(9, 9).half(), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    assert main_dtype(model) == "float16"
    config = SimpleNamespace(family="f")
    for fields, words in (({"conditioned": 1, "new_cache": 1}, "encoder-decoder"), ({}, "does not predict")):
        with pytest.raises(UsageError, match=words):
            check_decoder(SimpleNamespace(config=config, **fields), "s")
    model = SimpleNamespace(config=config, new_cache=1)  # type: ignore[assignment]
    assert check_decoder(model, "s") is model


# models measured on a text


class Source:
    """An opened source whose model and tokenizer are words."""

    def __init__(self, name: str, vocab: int = 9, vocabulary: str = "v", longest: int | None = 50) -> None:
        self.source, self.vocab_size, self.vocabulary, self.max_seq_len = name, vocab, vocabulary, longest
        self.tokenizer, self.options, self.overrides = name, {"family": name}, ("a=1",)
        self.quantize = None

    def load(self, *, dtype: str | None, device: str) -> Any:
        return SimpleNamespace(
            name=self.source, asked=(dtype, device), config=SimpleNamespace(family="f", vocab_size=9)
        )


def opened(name: str, **more: Any) -> Any:
    return Source(name, **more)


@pytest.fixture
def read_as(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What was read: (model, window, stride), with texts, models and tokenizers stood in for."""
    asked: list[Any] = []

    def read(model: Any, text: Passage, *, window: int, stride: int, take: Any) -> Reading:
        asked.append((model.name, model.asked, window, stride, take is not None))
        bias = 0.0 if model.name == "one" else 1.0
        if take is not None:
            take(0, torch.tensor([[1 + bias, 2.0, 3.0, *[0.0] * 6]] * 3).log_softmax(-1))
        return Reading(text, window, stride, torch.full((3,), 1 + bias), torch.tensor([1, 2, 3 + int(bias)]))

    def encode(tokenizer: str, text: str) -> Passage:
        ids = [0, 1, 2, 3] if tokenizer != "cut" else [0, 1, 2, 8]
        return Passage(text, ids, [(i, i + 1) for i in range(4)], 1, False)

    monkeypatch.setattr(measuring, "OpenedSource", Source)
    monkeypatch.setattr(measuring, "read", read)
    monkeypatch.setattr(measuring, "encode", encode)
    monkeypatch.setattr(measuring, "read_text", lambda name: "abcd efgh")
    monkeypatch.setattr(measuring, "main_dtype", lambda model: "float16")
    monkeypatch.setattr(
        measuring, "continuations",
        lambda model, tokenizer, said: [Continuation("greedy", p, "", [1, int(model.name == "one")]) for p in said],
    )  # fmt: skip
    return asked  # type: ignore[return-value]


@pytest.mark.slow
def test_each_model_is_held_to_the_first_that_can_be_measured(read_as: list[Any]) -> None:
    sources = [
        UsageError("not here", why="because"), opened("one"), opened("two", longest=40), opened("cut", vocabulary="w"),
        opened("far", vocab=10), opened("alike", vocabulary="w"),
    ]  # fmt: skip
    heard: list[str] = []
    found = measuring.measure(sources, text="t", dtype="float16", tell=heard.append)
    gone, one, two, cut, far, alike = found.models
    assert heard == [f"measuring {s if isinstance(s, ZooError) else s.source}" for s in sources]
    assert gone.reason == "not here"
    assert [asked[1:] for asked in read_as] == [
        (("float16", "cpu"), 40, 40, is_held) for is_held in (True, True, False, False, True)
    ]
    assert (found.window, found.stride, found.text) == (40, 40, "t")
    assert one.agreement is None
    assert (one.family, one.dtype, one.unlike) == ("f", "float16", "")
    assert two.agreement is not None
    p, q = (np.exp([1 + bias, 2, 3, *[0] * 6]) for bias in (0, 1))
    p, q = p / p.sum(), q / q.sum()
    assert two.agreement.kl.tolist() == pytest.approx(
        [(p * np.log(p / q)).sum()] * 3, rel=1e-5
    )  # of logarithms in float32
    assert (two.agreement.share, two.agreement.losses.tolist()) == (2 / 3, [1.0] * 3)
    assert (two.continuations[0].parts_at, two.continuations[0].tokens) == (1, [1, 0])
    assert "cut the text" in cut.unlike
    assert "9 and 10" in far.unlike
    assert cut.agreement is far.agreement is None
    assert cut.continuations[0].parts_at is None
    assert alike.agreement is not None


@pytest.mark.parametrize(
    ("given", "window", "stride"),
    [
        ({"window": 7, "stride": 3}, 7, 3),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (({}, 1024, 1024), ({"window": 7}, 7, 7), ({"stride": 3}, 1024, 3))
        ),
    ],
)
def test_windows_are_as_long_as_every_model_reads(
    given: dict[str, int], window: int, stride: int, read_as: list[Any]
) -> None:
    measuring.measure([opened("one", longest=4096), opened("two", longest=None)], **given)  # type: ignore[arg-type]
    assert {asked[2:4] for asked in read_as} == {(window, stride)}


def test_where_no_model_can_be_measured_the_first_reason_is_raised(
    read_as: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ZooError, match="first"):
        measuring.measure([ZooError("first"), ZooError("second")])
    with pytest.raises(UsageError, match="no model"):
        measuring.measure([])
    asked: list[Any] = []

    def open_source(source: str, *, allow_pickle: bool) -> Any:
        asked.append((source, allow_pickle))
        if source == "gone":
            raise ZooError("not here")
        return opened(source)

    monkeypatch.setattr(measuring, "open_source", open_source)
    found = measuring.measure(["one", "gone"], allow_pickle=True)
    assert asked == [("one", True), ("gone", True)]
    assert [m.reason for m in found.models] == ["", "not here"]
    assert read_as


def test_speed_is_measured_of_each_that_is_there(read_as: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def duel(name: str, job: Job, *, repeats: int) -> Any:
        asked.append((name, job, repeats))
        return SimpleNamespace(models=[{"of": name}, {}])

    monkeypatch.setattr(benchmark, "duel", duel)
    heard: list[str] = []
    sources = [opened("one", longest=100), ZooError("gone")]
    found = measuring.measure(sources, dtype="float16", speed=True, tell=heard.append)
    ((name, job, repeats),) = asked
    assert (name, repeats, job.source, job.options, job.overrides) == ("one", 3, "one", {"family": "one"}, ("a=1",))
    assert (job.prompt, job.new, job.dtype, job.device) == (50, 25, "float16", "cpu")
    assert [m.speed for m in found.models] == [{"of": "one"}, None]
    assert heard[-1] == "timing one"
    assert measuring.measure(sources).models[0].speed is None
    assert len(read_as) == 2


def test_compare_measures_what_has_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "zoo.measurement.subject.open_source",
        lambda *given, **more: asked.append((given, more)) or SimpleNamespace(quantize=None),
    )
    assert "no weights" in comparing._opened(TINY).what  # type: ignore[union-attr]
    for what in (tmp_path, str(tmp_path), "model=tiny model.num_layers=2 family=llama", "tiny"):
        comparing._opened(what)
    assert asked == [
        ((str(tmp_path),), {"family": None, "quantize": None}), ((str(tmp_path),), {"family": None, "quantize": None}),
        (("tiny", "model.num_layers=2"), {"family": "llama", "quantize": None}),
        (("tiny",), {"family": None, "quantize": None}),
    ]  # fmt: skip

    def refuse(*given: Any, **more: Any) -> Any:
        raise ZooError("gone")

    monkeypatch.setattr("zoo.measurement.subject.open_source", refuse)
    assert comparing._opened("tiny").what == "gone"  # type: ignore[union-attr]
    a, b = (("x", 1.0), ("y", 2.0)), (("x", 3.0), ("y", 4.0))
    assert comparing._losses([a, None, b]) == ((1.0, 2.0), None, (3.0, 4.0))
    assert comparing._losses([a, (("xy", 3.0),)]) == ()
    assert comparing._losses([None]) == ()
    monkeypatch.setattr(comparing, "_opened", lambda what: f"opened {what}")
    monkeypatch.setattr(comparing, "_roundings", lambda subjects, opened: (None,) * len(opened))
    record = SimpleNamespace(
        models=[SimpleNamespace(pieces=lambda: list(a), source=""), SimpleNamespace(pieces=list, source="")],
        rows=lambda: ["row"], notes=lambda: ["note"], to_dict=lambda: {"d": 1},
    )  # fmt: skip
    monkeypatch.setattr("zoo.measurement.measure", lambda *given, **more: asked.append((given, more)) or record)
    found = comparing.measured(["s", TINY], text="t", window=3, stride=2, dtype="d", device="v", speed=True)
    given, more = asked[-1]
    assert given[0][0] == "opened s"
    assert more == {"text": "t", "window": 3, "stride": 2, "dtype": "d", "device": "v", "speed": True, "tell": None}
    assert found == comparison.Findings(("row",), ((1.0, 2.0), None), ("note",), (a, None), {"d": 1}, (None, None))  # type: ignore[arg-type]
    assert [m.source for m in record.models] == ["s", "llama"]


# the other library


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    return zoo.save(zoo.build(TINY, device="cpu", seed=2), folder, format="zoo") or folder


def test_a_source_is_known_by_its_headers_and_its_tokenizer() -> None:
    tiny = open_source(Path(zoo.__file__).parent / "box" / "tiny")
    assert (tiny.vocab_size, tiny.max_seq_len) == (2048, 256)
    assert tiny.name == tiny.source
    assert tiny.vocabulary == open_source(tiny.source).vocabulary
    assert isinstance(tiny.settings, GenerationConfig)
    assert isinstance(tiny.ledger, Ledger)
    assert main_dtype(tiny.load(dtype="float16")) == "float16"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
def test_another_librarys_checkpoint_is_read_where_it_lies_or_written_for_it(saved: Path, tmp_path: Path) -> None:
    tiny = Path(zoo.__file__).parent / "box" / "tiny"
    assert Path(theirs.as_hf(str(tiny), str(tmp_path), (), {})) == tiny
    written = theirs.as_hf(str(saved), str(tmp_path), (), {})
    assert written == str(tmp_path / "hf")
    assert (tmp_path / "hf" / "config.json").is_file()
    other = theirs.as_hf(str(tiny), str(tmp_path / "more"), ("model.norm_eps=0.001",), {})
    assert json.loads((Path(other) / "config.json").read_text())["rms_norm_eps"] == 0.001


@pytest.mark.slow
def test_the_other_library_does_the_same_work() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    tiny = str(Path(zoo.__file__).parent / "box" / "tiny")
    job = Job(tiny, prompt=5, new=3, batch=2, dtype="float32", seed=1)
    ours, rival = ZooRunner(job), theirs.TransformersRunner(job)
    assert (ours.dtype, ours.vocab_size, ours.parameters) == (rival.dtype, rival.vocab_size, rival.parameters)
    tokens = prompt_of(job, ours.vocab_size)
    one, other = run(ours, tokens, 3), run(rival, tokens, 3)
    assert one.tokens == other.tokens
    assert ours.formula_bytes() == one.cache_bytes
    assert rival.formula_bytes() is None
    # Theirs grows with the text: 5 + 3 tokens of 2 rows, as the arithmetic has it of that length.
    assert other.cache_bytes == one.cache_bytes
    assert rival.begin() is None
    assert rival.cache_bytes(object()) is None
    random = theirs.TransformersRunner(Job(config=TINY.to_dict(), dtype="bfloat16", seed=1))
    assert (random.dtype, random.parameters) == ("bfloat16", count(zoo.build(TINY, device="meta")))
    with pytest.raises(UsageError, match="no format that transformers reads"):
        theirs.foreign_config(Job(config=installed()["decoder"].config_class.tiny().to_dict()))
    with pytest.raises(UsageError, match="transformers cannot run"):
        theirs.TransformersRunner(Job(config=installed()["t5"].config_class.tiny().to_dict()))


def test_a_record_says_what_there_is() -> None:
    assert Measured("x", reading=None).pieces() == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        zoo.measurement.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_a_window_that_predicts_nothing_is_left_out() -> None:
    text = Passage("x" * 8, [0] * 8, [(i, i + 1) for i in range(8)], 4, True)
    assert list(windows(text, 3, 3)) == [Window(3, 6, 3), Window(6, 7, 6)]
    assert list(windows(text, 7, 7)) == [Window(0, 7, 3)]
