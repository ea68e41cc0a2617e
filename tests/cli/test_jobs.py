"""What `zoo build` and `zoo bench` do with a composed config, without Hydra: refusals, facts, tables, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import zoo
from zoo.anatomy.size import Size
from zoo.cli import benching, building
from zoo.cli.building import Settings
from zoo.errors import ConfigError, UsageError, ZooError
from zoo.registry import installed

TINY = installed()["llama"].config_class.tiny()
BERT = installed()["bert"].config_class.tiny()
KEYS: dict[str, Any] = {"device": "meta", "dtype": None, "seed": 0, "save": None, "format": None}
BENCH: dict[str, Any] = {"source": None, "prompt": 5, "new": 3, "batch": 2, "repeats": 4, "device": "cpu",
                         "dtype": "bfloat16", "seed": 7, "against": None, "quantize": None,
                         "packed": False, "compile": True}  # fmt: skip


def composed(config: Any = TINY, keys: dict[str, Any] = KEYS, **changed: Any) -> Any:
    """What Hydra hands to a job."""
    return OmegaConf.create({**keys, "model": None if config is None else OmegaConf.structured(config), **changed})


@pytest.fixture
def _in_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that runs under Hydra, which knows that the preset `mine` was chosen."""
    chosen = SimpleNamespace(choices={"model": "mine", "rope": "none"})
    state = SimpleNamespace(runtime=chosen, overrides=SimpleNamespace(task=["model=mine"]))
    for module in ("zoo.cli.building", "hydra.core.hydra_config"):
        monkeypatch.setattr(f"{module}.HydraConfig.get", lambda: state)


def test_settings_take_the_first_format_that_others_read() -> None:
    assert Settings.of(composed(), TINY) == Settings("meta", None, 0, None, "hf")
    plain = installed()["decoder"].config_class.tiny()
    assert "hf" not in installed()["decoder"].formats
    assert Settings.of(composed(plain), plain).format == "zoo"
    given = composed(device="cpu", dtype="float16", seed=3, save="out", format="zoo")
    assert Settings.of(given, TINY) == Settings("cpu", "float16", 3, "out", "zoo")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"save": ""}, "save= has no folder"),
        ({"save": "out"}, "device=meta has none"),
        ({"format": "hff"}, "format='hff' is not a format of llama"),
        ({"seed": "one"}, "seed='one' is not int"),
        ({"device": None}, "device=None is not str"),
        ({"dtype": 3}, "dtype=3 is not"),
    ],
)
def test_settings_that_contradict_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises((UsageError, ConfigError)) as caught:
        Settings.of(composed(**changed), TINY)
    assert words in str(caught.value)


def test_a_config_is_checked_where_there_is_one() -> None:
    assert building.check(composed(None)) == {}
    assert building.check(composed()) == {}
    with pytest.raises(UsageError, match="names no family"):
        building.check(OmegaConf.create({"model": {"hidden_size": 3}}))


@pytest.mark.usefixtures("_in_hydra")
def test_what_is_built_is_told_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = building.built(composed(device="cpu", dtype="float16", seed=3, save=str(tmp_path / "out"), format="zoo"))
    assert facts["model"] == "mine"
    assert (facts["device"], facts["dtype"], facts["seed"]) == ("cpu", "float16", 3)
    assert facts["parameters"] == Size.of(TINY).parameters == facts["size"]["parameters"]
    assert facts["config"] == TINY.to_dict()
    assert facts["saved"] == {"folder": str(tmp_path / "out"), "format": "zoo"}
    assert 0 <= facts["seconds"] == round(facts["seconds"], 4) < 60
    back, again = zoo.load(tmp_path / "out"), zoo.build(TINY, device="cpu", dtype="float16", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(back.parameters(), again.parameters(), strict=True))
    plain = building.built(composed())
    assert (plain["dtype"], plain["saved"], plain["device"]) == ("float32", None, "meta")
    monkeypatch.setattr(building, "numbers", lambda c: {"size": {"parameters": 5}})
    with pytest.raises(ZooError, match="contradicts itself"):
        building.built(composed())


@pytest.mark.usefixtures("_in_hydra")
def test_what_differs_from_the_preset_is_told_and_the_device_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_preset", lambda name: {"mine": BERT}[name])
    monkeypatch.setattr(building, "changes", lambda before, after: {"model.x": [before.family, after.family]})
    assert building.built_and_compared(composed())["changed"] == {"model.x": ["bert", "llama"]}
    told = building.built_and_compared(composed(device="cpu"))
    assert told["changed"] == {"model.x": ["bert", "llama"], "device": ["meta", "cpu"]}
    assert told["parameters"] == Size.of(TINY).parameters


def test_a_preset_as_it_stands_is_read_without_hydra_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert building._preset("gpt2") == zoo.presets.config("gpt2")
    monkeypatch.setattr(building, "compose", lambda command, overrides: composed(BERT) if overrides else None)
    assert building._preset("only-in-my-folder") == BERT


def job(number: int, *words: str, **more: Any) -> dict[str, Any]:
    return {"job": number, "overrides": list(words), **more}


SWEPT = [
    job(0, "model=a", "+model.num_layers=1", parameters=7_000, seconds=0.25,
        size={"cache_bytes_per_token": 2048, "first_token_flops": 3_000_000}),
    job(1, "model=a", "+model.num_layers=2", parameters=9_000, seconds=1.5, size=None),
    job(2, "model=a", "+model.num_layers=0", error="no layer\nsecond line", exit_code=2),
    job(3, "model=a", "+model.num_layers=9", error="no weights", exit_code=1),
]  # fmt: skip


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Hydra was asked for by a sweep of either command."""
    asked: list[Any] = []

    def run_sweep(command: str, words: Any, flags: Any, task: Any) -> Any:
        asked.append((command, list(words), list(flags), task.__name__))
        return Path("there"), SWEPT if command == "build" else BENCHED

    monkeypatch.setattr(building, "run_sweep", run_sweep)
    monkeypatch.setattr(benching, "run_sweep", run_sweep)
    return asked


def test_a_sweep_is_a_line_each_and_ends_as_its_first_failure(
    ran: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        building.sweep(["model=a"], ["--flag"], is_json=False)
    assert left.value.code == 2
    assert ran == [("build", ["model=a"], ["--flag"], "built")]
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "#\tmodel.num_layers\tparams\tcache/token\tFLOPs, first token\tbuild",
        "0\t1\t7000\t2048\t3000000\t0.25", "1\t2\t9000\t\t\t1.5", "2\t0\t\t\t\t", "3\t9\t\t\t\t",
    ]  # fmt: skip
    assert "4 jobs" in err
    assert "error: job 2: no layer" in err
    assert "error: job 3: no weights" in err
    with pytest.raises(SystemExit):
        building.sweep([], [], is_json=True)
    assert json.loads(capsys.readouterr().out) == {"folder": "there", "jobs": SWEPT}


@pytest.mark.parametrize("word", ["save=", "save=null", "save=out/${hydra:job.num}"])
def test_a_sweep_may_save_where_each_has_its_folder(word: str, ran: list[Any]) -> None:
    with pytest.raises(SystemExit):
        building.sweep(["model=a", word], [], is_json=True)
    assert ran[0][1] == ["model=a", word]


def test_a_sweep_into_one_folder_is_refused_before_it_runs(ran: list[Any]) -> None:
    with pytest.raises(UsageError, match=r"save=out would write"):
        building.sweep(["model=a", "save=${x}", "save=out"], [], is_json=True)
    assert ran == []


def test_keys_of_a_sweep_are_those_that_differ_and_of_one_job_its_model() -> None:
    assert building.swept(SWEPT[:1]) == ["model"]
    assert building.swept([job(0, "seed=1", "~rope"), job(1, "seed=2", "~rope", "x=a=b")]) == ["seed"]
    assert building.values_of(job(0, "+x=a=b", "~rope"), ["x", "seed"]) == ["a=b", ""]
    assert [column.show(0.256) for column in building.COSTS[-1:]] == ["0.26 s"]
    building.check_jobs(SWEPT[:2])


RUNS = [{"first_token": 0.5, "decode": 2.0}, {"first_token": 0.25, "decode": 4.0}, {"first_token": 1.0, "decode": 1.0}]


def measured(engine: str, **more: Any) -> dict[str, Any]:
    return {
        "engine": engine, "dtype": "bfloat16", "parameters": 12_345,
        "prefill": {"median": 2_000.0, "least": 1_000.0, "most": 3_000.0},
        "decode": {"median": 50.0, "least": 40.0, "most": 60.0},
        "first_token": {"median": 0.0125, "least": 0.01, "most": 0.02},
        "memory": {"peak_bytes": 3 << 20, "baseline_bytes": 1 << 20, "how": "x"},
        "cache": {"bytes": 4096, "formula_bytes": 4096}, "runs": RUNS,
    } | more  # fmt: skip


RATIOS = {"prefill": {"median": 2.0, "least": 1.5, "most": 2.5}, "decode": {"median": 0.5, "least": 0.4, "most": 0.6}}
FACTS = {
    "model": "tiny", "weights": "tiny", "is_random": True, "prompt": 8, "new": 2, "batch": 3, "device": "cpu",
    "repeats": 5, "models": [measured("zoo")], "ratios": {}, "same_tokens": None, "seed": 9,
    "environment": {"threads": 11},
}  # fmt: skip
BENCHED = [
    job(0, "prompt=8", models=[measured("zoo")], ratios={}),
    job(1, "prompt=9", models=[measured("zoo"), measured("transformers")], ratios=RATIOS),
    job(2, "prompt=0", error="too few", exit_code=2),
]
