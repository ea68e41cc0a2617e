"""Benchmarks do the work that they say, in processes of their own, and tell what went wrong there. Nothing is timed."""

from __future__ import annotations

from pathlib import Path

import pytest

import zoo
from zoo.errors import UsageError, ZooError
from zoo.measurement.speed.benchmark import _ratios, duel, is_source, spread
from zoo.measurement.speed.job import Job, prompt_of, run
from zoo.measurement.speed.memory import peak_bytes
from zoo.measurement.speed.own import ZooRunner
from zoo.presets.composition import compose
from zoo.registry import installed

SMALL = installed()["llama"].config_class.tiny().to_dict()


def test_a_run_is_greedy_decoding_with_a_cache_of_the_size_that_the_arithmetic_says() -> None:
    job = Job(config=SMALL, prompt=5, new=7, batch=2, seed=3)
    runner = ZooRunner(job)
    prompt = prompt_of(job, runner.vocab_size)
    found = run(runner, prompt, job.new)
    expected = zoo.generate(runner.model, prompt[:1], max_new_tokens=8, eos_token_id=[]).new_tokens[0]
    assert found.tokens == expected  # the prompt's first and seven steps
    assert found.cache_bytes == runner.formula_bytes()
    assert found.first_token > 0
    assert found.decode > 0


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("bert", "does not predict the next token"),
        ("t5", "an encoder-decoder"),
        ("vit", "does not predict the next token"),
    ],
)
def test_models_that_continue_nothing_are_refused(family: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ZooRunner(Job(config=installed()[family].config_class.tiny().to_dict()))


def test_more_tokens_than_the_context_are_refused() -> None:
    with pytest.raises(UsageError, match=r"prompt 600 \+ new 64 = 664 tokens, more than model.max_seq_len"):
        ZooRunner(Job(config=SMALL, prompt=600))


@pytest.mark.parametrize("wrong", [{"prompt": 0}, {"new": -1}, {"batch": 0}, {"engine": "vllm"}])
def test_a_job_that_is_none_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Job(config=SMALL, **wrong)


def test_a_name_stands_for_weights_unless_it_is_a_presets(tmp_path: Path) -> None:
    assert not is_source("llama3")
    assert is_source("tiny")  # in the box
    assert not is_source("tiny", ["model.num_layers=2"])
    assert is_source(str(tmp_path))
    assert not is_source("decoder/llama3")


def test_spread_and_ratios_are_of_each_turn() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
    ours = [{"first_token": 1.0, "decode": 2.0}, {"first_token": 2.0, "decode": 2.0}]
    theirs = [{"first_token": 4.0, "decode": 1.0}, {"first_token": 4.0, "decode": 3.0}]
    assert _ratios([ours, theirs]) == {  # above 1: ours is faster
        "prefill": {"median": 3.0, "least": 2.0, "most": 4.0},
        "decode": {"median": 1.0, "least": 0.5, "most": 1.5},
    }
    assert _ratios([ours]) == {}


def test_memory_is_that_of_this_program() -> None:
    assert 10e6 < peak_bytes() < 100e9  # bytes, not kilobytes or pages


@pytest.mark.slow
@pytest.mark.usefixtures("quick_jobs")
def test_a_process_tells_what_it_ran_and_what_it_held() -> None:
    found = duel("small", Job(config=SMALL, prompt=8, new=4), repeats=2).to_dict()
    (model,) = found["models"]
    assert (found["is_random"], found["weights"], found["repeats"]) == (True, "random, seed 0", 2)
    assert model["dtype"] == "float32"
    assert model["cache"]["bytes"] == model["cache"]["formula_bytes"] > 0
    assert model["memory"]["peak_bytes"] > model["memory"]["baseline_bytes"] > 10e6
    assert model["prefill"]["least"] <= model["prefill"]["median"] <= model["prefill"]["most"]
    assert found["environment"]["zoo"] == zoo.__version__


@pytest.mark.slow
@pytest.mark.usefixtures("quick_jobs")
def test_an_error_in_the_process_comes_back_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="neither a folder, a file nor a preset") as caught:
        duel("x", Job(source="nowhere"))
    assert caught.value.exit_code == 2


@pytest.mark.slow
def test_a_module_in_the_folder_at_hand_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('ran code of the folder at hand')")
    monkeypatch.chdir(tmp_path)
    assert duel("small", Job(config=SMALL, prompt=2, new=1), repeats=1).models


@pytest.mark.slow
@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize("source", ["tiny", "zoo's format"])
def test_transformers_runs_the_same_weights_and_says_the_same(tmp_path: Path, source: str) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    name = source if source == "tiny" else str(zoo.convert("tiny", tmp_path / "own").folder)
    found = duel(name, Job(source=name, prompt=16, new=8, dtype="float32"), repeats=1, against="transformers")
    assert found.same_tokens == 1.0
    assert [m["engine"] for m in found.models] == ["zoo", "transformers"]
    assert found.models[0]["parameters"] == found.models[1]["parameters"]
    assert set(found.ratios) == {"prefill", "decode"}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_jobs")
def test_a_preset_is_built_in_transformers_from_its_own_config() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    words = ("model.num_layers=1", "model.vocab_size=50", "model.hidden_size=24", "model.num_heads=3")
    config = compose("gpt2", *words, "model.eos_token_id=[1]", "model.bos_token_id=1").to_dict()
    found = duel("gpt2", Job(config=config, prompt=4, new=2), repeats=1, against="transformers")
    assert found.models[0]["parameters"] == found.models[1]["parameters"]
    assert found.same_tokens is None  # random on both sides


@pytest.mark.slow
@pytest.mark.usefixtures("quick_jobs")
def test_a_family_that_transformers_lacks_is_told() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    config = installed()["chatglm"].config_class.tiny().to_dict()
    with pytest.raises(UsageError, match="transformers cannot run this config\nUnrecognized model"):
        duel("chatglm", Job(config=config, prompt=4, new=2), repeats=1, against="transformers")


def test_an_unknown_rival_is_refused() -> None:
    with pytest.raises(UsageError, match="against='vllm' is not known"):
        duel("x", Job(config=SMALL), against="vllm")
