"""The parts of a measurement, against numpy and arithmetic, with models, processes and libraries stood in for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo.checkpoint.inspection import Ledger
from zoo.errors import UsageError
from zoo.generation import GenerationConfig
from zoo.measurement import agreement, continuations
from zoo.measurement.agreement import Agreement
from zoo.measurement.continuations import Continuation, first_difference, parted
from zoo.measurement.passages import Passage, Window, windows
from zoo.measurement.perplexity import Reading
from zoo.measurement.record import Measured
from zoo.measurement.speed import theirs
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


def test_the_dtype_of_a_model_is_that_of_most_of_its_numbers() -> None:
    model = torch.nn.ModuleList([torch.nn.Linear(9, 9).half(), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    assert main_dtype(model) == "float16"
    config = SimpleNamespace(family="f")
    for fields, words in (({"conditioned": 1, "new_cache": 1}, "encoder-decoder"), ({}, "does not predict")):
        with pytest.raises(UsageError, match=words):
            check_decoder(SimpleNamespace(config=config, **fields), "s")
    model = SimpleNamespace(config=config, new_cache=1)  # type: ignore[assignment]
    assert check_decoder(model, "s") is model


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
