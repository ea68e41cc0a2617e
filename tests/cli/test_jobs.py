"""What `zoo build` and `zoo bench` do with a composed config, without Hydra: refusals, facts, tables, exit codes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from omegaconf import OmegaConf

import zoo
from zoo.anatomy.size import Size
from zoo.cli import benching, building, hydra_front, main
from zoo.cli.building import Settings
from zoo.errors import ConfigError, UsageError, ZooError
from zoo.measurement.speed import benchmark
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
    state = SimpleNamespace(runtime=SimpleNamespace(choices={"model": "mine", "rope": "none"}))
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


def run_one(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], *, is_json: bool = False) -> None:
    def run_once(command: str, words: Any, flags: Any, task: Any) -> Any:
        assert (command, words, flags, task) == ("bench", ["w"], ["f"], benching.benched)
        return facts

    monkeypatch.setattr(benching, "run_once", run_once)
    benching.one(["w"], ["f"], is_json=is_json)


def test_one_benchmark_is_told_with_its_rival_or_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_one(monkeypatch, FACTS)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "\tzoo"
    assert {"random", "9", "12.3k", "bfloat16", "11", "3", "5"} <= set(err.replace(",", " ").split())
    assert "same" not in err
    duel = {**FACTS, "is_random": False, "models": BENCHED[1]["models"], "ratios": RATIOS, "same_tokens": 0.125}
    run_one(monkeypatch, duel)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "\tzoo\ttransformers\tzoo / transformers"
    assert "random" not in err
    assert "12%" in err
    run_one(monkeypatch, duel, is_json=True)
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (duel, "")


def test_a_sweep_of_benchmarks_is_a_line_each(ran: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        benching.sweep(["w"], ["f"], is_json=False)
    assert left.value.code == 2
    assert ran == [("bench", ["w"], ["f"], "benched")]
    out, err = capsys.readouterr()
    header, *lines = [line.split("\t") for line in out.splitlines()]
    assert header[:2] == ["#", "prompt"]
    own = ["12345", "2000.0", "50.0", str(3 << 20), "4096"]
    assert lines == [["0", "8", *own, "", ""], ["1", "9", *own, "2.0", "0.5"], ["2", "0", *[""] * 7]]
    assert "3 jobs" in err
    assert "error: job 2: too few" in err
    with pytest.raises(SystemExit):
        benching.sweep([], [], is_json=True)
    assert json.loads(capsys.readouterr().out) == {"folder": "there", "jobs": BENCHED}


@pytest.fixture
def duelled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a benchmark was asked for."""
    asked: list[Any] = []

    def duel(name: str, job: Any, **options: Any) -> Any:
        asked.append((name, job, options))
        return SimpleNamespace(to_dict=lambda: {"model": name})

    monkeypatch.setattr(benchmark, "duel", duel)
    return asked


@pytest.mark.usefixtures("_in_hydra")
def test_keys_become_a_job_with_weights_or_a_config(duelled: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told = benching.benched(composed(keys=BENCH))
    ((name, made, options),) = duelled
    assert name == "mine"
    assert (made.source, made.options, made.config) == (None, None, TINY.to_dict())
    assert (made.prompt, made.new, made.batch, made.device, made.dtype, made.seed) == (5, 3, 2, "cpu", "bfloat16", 7)
    assert made.compile is True
    assert options == {"repeats": 4, "against": None, "tell": None}
    assert told == {"model": "mine", "seed": 7, "config": TINY.to_dict()}
    duelled.clear()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    told = benching.benched(composed(None, BENCH, source="./folder", against="transformers"))
    ((name, made, options),) = duelled
    assert (name, made.source, made.config, options["against"]) == ("./folder", "./folder", None, "transformers")
    assert options["tell"] is not None
    assert told["config"] is None
    with pytest.raises(UsageError, match=r"two models: \./folder and"):
        benching.benched(composed(keys=BENCH, source="./folder"))
    with pytest.raises(ConfigError, match="prompt='few' is not int"):
        benching.benched(composed(keys=BENCH, prompt="few"))


def test_a_benchmark_in_python_is_the_job_that_its_arguments_say(duelled: list[Any]) -> None:
    zoo.measurement.bench(
        "llama3",
        "model.num_layers=2",
        prompt=5,
        new=3,
        batch=2,
        repeats=4,
        dtype=torch.float16,
        seed=7,
        against="transformers",
    )
    zoo.measurement.bench("./folder", "model.tie_embeddings=true", device="meta")
    (preset, made, options), (folder, source, plain) = duelled
    assert (preset, made.source, made.config["num_layers"], made.dtype) == ("llama3", None, 2, "float16")
    assert (made.prompt, made.new, made.batch, made.device, made.seed) == (5, 3, 2, "cpu", 7)
    assert options == {"repeats": 4, "against": "transformers"}
    assert (folder, source.source, source.overrides, source.device) == (
        "./folder", "./folder", ("model.tie_embeddings=true",), "meta"
    )  # fmt: skip
    assert (source.config, source.dtype, source.prompt, source.new, source.batch) == (None, None, 128, 64, 1)
    assert plain == {"repeats": 5, "against": None}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the commands hand on."""
    asked: list[Any] = []
    for module, name in ((building, "one"), (building, "sweep"), (benching, "one"), (benching, "sweep")):
        where = f"{module.__name__.rpartition('.')[2]}.{name}"
        monkeypatch.setattr(
            module, name, lambda words, flags, *, is_json, where=where: asked.append((where, words, flags, is_json))
        )
    monkeypatch.setattr(
        hydra_front, "run_once", lambda command, words, flags, job: asked.append((command, words, flags, job.__name__))
    )
    monkeypatch.setattr(hydra_front, "show", lambda *given: asked.append(("show", *given)))
    return asked


def run(*words: str) -> Result:
    done = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done


def test_options_of_bench_are_keys(called: list[Any], tmp_path: Path) -> None:
    run("bench", "llama3", "--prompt", "4", "--against", "transformers", "seed=3")
    run("bench", "-m", "llama3", "prompt=1,2", "--json")
    run("bench", "llama3", "+model.hidden_size=8")
    run("bench", "llama3", "-cd", str(tmp_path), "--trust-config-dir")
    one, sweep, check, added, trusted = called
    assert one[0] == "benching.one"
    assert {"prompt=4", "against=transformers", "seed=3"} < set(one[1])
    assert one[2:] == ([], False)
    assert (sweep[0], sweep[3]) == ("benching.sweep", True)
    assert "prompt=1,2" in sweep[1]
    assert check[0] == "bench"
    assert check[3] == "check"
    assert "+model.hidden_size=8" in check[1]
    assert added[:2] == ("benching.one", check[1])
    assert trusted[2] == [f"--config-dir={tmp_path}"]


def test_options_of_build_decide_what_is_done(called: list[Any], tmp_path: Path) -> None:
    run("build", "llama3", "--json")
    run("build", "-m", "llama3", "seed=1,2", "-cd", str(tmp_path), "--trust-config-dir")
    run("build", "llama3", "--cfg", "job", "-p", "model.rope", "--resolve")
    run("build", "llama3", "+model.hidden_size=8", "--cfg", "all")
    run("build", "llama3", "+model.hidden_size=8", "--info", "searchpath")
    run("build", "--info", "llama3")
    one, sweep, cfg, check, added, info, bare = called
    assert (one[0], one[3]) == ("building.one", True)
    assert (sweep[0], sweep[3]) == ("building.sweep", False)
    assert sweep[2] == [f"--config-dir={tmp_path}"]
    assert cfg[:2] == ("show", "build")
    assert cfg[3] == ["--cfg=job", "--package=model.rope", "--resolve"]
    assert (check[0], check[3]) == ("build", "check")
    assert (added[0], added[3]) == ("show", ["--cfg=all"])
    assert info[3] == ["--info=searchpath"]
    assert bare[3] == ["--info=all"]
    assert any("llama3" in word for word in bare[2])


def test_trust_needs_a_folder() -> None:
    done = CliRunner().invoke(main, ["build", "llama3", "--trust-config-dir"])
    assert done.exit_code == 2
    assert "--trust-config-dir needs a folder" in done.stderr


def test_a_sweep_goes_where_it_is_sent_or_to_its_day() -> None:
    day = datetime.now().strftime("%Y")
    folder, extra = hydra_front._folder(["model=a"])
    assert folder.parts[0] == "multirun"
    assert folder.parts[1].startswith(day)
    assert extra == ["hydra.output_subdir=.hydra", f"hydra.sweep.dir='{folder}'"]
    given = ["hydra.sweep.dir=first", "hydra.sweep.dir='to/${now:%Y}'", "hydra.output_subdir=null"]
    assert hydra_front._folder(given) == (Path("to") / day, [])
    assert hydra_front._folder(given[:2]) == (Path("to") / day, ["hydra.output_subdir=.hydra"])


@pytest.mark.parametrize("before", [None, "0"])
def test_the_process_is_put_back_as_it_was(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if before is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", before)
    argv = sys.argv

    def fail() -> None:
        with hydra_front._process(["zoo build", "x"]):
            assert (sys.argv, os.environ["HYDRA_FULL_ERROR"]) == (["zoo build", "x"], "1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert sys.argv is argv
    assert os.environ.get("HYDRA_FULL_ERROR") == before


def test_help_strings_are_not_checked_while_hydra_declares_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As argparse of Python 3.14 does: hydra-core 1.3 declares an option whose help is no string."""
    check = object()
    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check, raising=False)
    monkeypatch.setattr(hydra_front, "VERSION_BASE", {"version_base": "1.3"})
    with hydra_front._any_help():
        assert argparse.ArgumentParser._check_help is not check  # type: ignore[attr-defined]
    assert argparse.ArgumentParser._check_help is check  # type: ignore[attr-defined]
    monkeypatch.setattr(hydra_front, "VERSION_BASE", {})
    with hydra_front._any_help():
        assert argparse.ArgumentParser._check_help is check  # type: ignore[attr-defined]


def test_a_job_and_a_sweep_are_started_with_their_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hydra itself is stood in for by the tasks that it would run."""
    monkeypatch.chdir(tmp_path)
    started: list[Any] = []

    def start(command: str, task: Any, arguments: list[str]) -> None:
        started.append((command, arguments))
        for number in (1, 0) if "--multirun" in arguments else (0,):
            folder = Path("to") / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            overrides = SimpleNamespace(task=[f"seed={number}"])
            state = SimpleNamespace(
                job=SimpleNamespace(num=number), overrides=overrides, runtime=SimpleNamespace(output_dir=folder)
            )
            monkeypatch.setattr(hydra_front.HydraConfig, "get", lambda state=state: state)
            values.append(task(OmegaConf.create({"seed": number})))

    values: list[Any] = []
    monkeypatch.setattr(hydra_front, "_start", start)
    assert hydra_front.run_once("build", ["w"], ["f"], lambda c: {"seed": c.seed}) == {"seed": 0}

    def work(c: Any) -> dict[str, Any]:
        if c.seed:
            raise UsageError("no", why="because")
        return {"parameters": 7}

    (tmp_path / "to" / "old").mkdir(parents=True)
    (tmp_path / "to" / "old" / "result.json").write_text("{}")
    os.utime(tmp_path / "to" / "old" / "result.json", (0, 0))
    folder, found = hydra_front.run_sweep("bench", ["hydra.sweep.dir=to"], ["f"], work)
    assert folder == Path("to")
    assert found == [
        {"job": 0, "overrides": ["seed=0"], "parameters": 7},
        {"job": 1, "overrides": ["seed=1"], "error": "no\nbecause", "exit_code": 2},
    ]
    assert values[2] == 7.0
    assert values[1] != values[1]  # NaN: what failed has no size
    hydra_front.show("build", ["w"], ["f"])
    assert started[0] == ("build", ["f", "w"])
    assert started[1] == ("bench", ["--multirun", "f", "hydra.output_subdir=.hydra", "hydra.sweep.dir=to"])
    assert started[2] == ("build", ["f", "w"])
    with pytest.raises(KeyError):
        hydra_front.run_once("build", [], [], lambda c: {"seed": {}["none"]})
