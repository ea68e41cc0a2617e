"""Models measured on a text: each is held to the first that can be measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zoo import comparison
from zoo.comparison import measured as comparing
from zoo.errors import UsageError, ZooError
from zoo.measurement import measuring
from zoo.measurement.continuations import Continuation
from zoo.measurement.passages import Passage
from zoo.measurement.perplexity import Reading
from zoo.measurement.speed import benchmark
from zoo.measurement.speed.job import Job
from zoo.registry import installed

TINY = installed()["llama"].config_class.tiny()


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
