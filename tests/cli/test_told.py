"""What commands make of what they were told: each state in words, each option handed on, for people and for pipes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from zoo import presets, verification
from zoo.cli import check_plugin, doctor, hub_cache, inspect, main, output, plugins, pull, show
from zoo.cli import list as list_command
from zoo.cli.own_presets import OwnPresets
from zoo.errors import UsageError, ZooError
from zoo.registry import Plugin, installed
from zoo.testing.check import Check


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def _on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    for module in (output, check_plugin):
        monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))


# zoo doctor

FOUND: dict[str, Any] = {
    "zoo": "9.9", "python": "3.99", "platform": "x", "packages": {"torch": "2.1", "omegaconf": "2.3"}, "cores": 7,
    "memory_bytes": 3 << 30, "plugins": [], "preset_clashes": [], "broken_presets": [],
    "hub": {"folder": "/there", "offline": False, "models": {}}, "extras": {}, "completion": [],
}  # fmt: skip


def test_doctor_tells_each_finding_and_what_is_wrong_last() -> None:
    told = dict(doctor.in_words(FOUND))
    assert told["zoo-lm"] == "9.9 · Python 3.99 · 7 cores, 3 GiB"
    assert told["packages"] == "torch 2.1 · omegaconf 2.3"
    assert "HF_HUB_OFFLINE" not in told["hub"]
    assert "nothing in /there" in told["hub"]
    assert "zoo completion bash --install" in told["completion"]
    wrong = FOUND | {
        "memory_bytes": None, "completion": ["bash", "fish"], "extras": {"gguf": ["gguf"], "hub": []},
        "hub": {"folder": "/there", "offline": True, "models": {"a/b": 1024, "c/d": 2048}},
        "preset_clashes": [{"preset": "p", "kept": "mine", "hidden": "theirs"}],
        "broken_presets": [{"preset": "q", "package": "k", "problem": "bad"}],
        "plugins": [{"state": s, "name": n} for s, n in
                    (("built in", "a"), ("loaded", "b"), ("broken", "c"), ("blocked", "d"), ("broken", "e"))],
    }  # fmt: skip
    rows = doctor.in_words(wrong)
    told = dict(rows)
    assert told["zoo-lm"].endswith("7 cores")
    assert told["hub"].startswith("offline (HF_HUB_OFFLINE=1)")
    assert "2 models, 3 KiB in /there" in told["hub"]
    assert told["completion"] == "bash, fish"
    assert told["extras"] == "gguf no   pip install 'zoo-lm[gguf]' · hub yes"
    assert told["plugins"].startswith("1 built in, 1 loaded, 2 broken (c, e), 1 blocked (d)")
    assert told["clash"].startswith("p of theirs ")
    assert told["clash"].endswith(" mine")
    assert told["broken"] == "q of k: bad"
    assert [name for name, _ in rows[-3:]] == ["clash", "broken", "paste with"]


def test_doctor_measures_memory_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert doctor._memory() == pytest.approx(int(total.split()[1]) * 1024, rel=0.01)
    monkeypatch.setattr("os.sysconf", lambda name: {}[name])
    with pytest.raises(KeyError):
        doctor._memory()

    def fail(name: str) -> int:
        raise ValueError

    monkeypatch.setattr("os.sysconf", fail)
    assert doctor._memory() is None
    assert doctor._version("no-such-package") == ""


def test_doctor_looks_for_completion_where_shells_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    shells = ("bash", "zsh", "fish")
    assert not any(map(doctor._completes, shells))
    (tmp_path / ".bash_profile").write_text("source <(zoo completion bash)\n")
    (tmp_path / ".zshrc").write_text("alias zoo=x\n")
    script = tmp_path / doctor.FILES["fish"][0]
    script.parent.mkdir(parents=True)
    script.write_text("")
    assert [doctor._completes(shell) for shell in shells] == [True, False, True]


def test_extras_are_those_that_users_install_and_are_missing_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2", "gguf>=0.6; extra == 'gguf'", "lm-eval>=0.4; extra == 'eval'", "pytest; extra == 'dev'"]
    told = SimpleNamespace(
        requires=lines, metadata=SimpleNamespace(get_all=lambda key: ["gguf", "eval", "dev", "all", "real", "docs"])
    )
    monkeypatch.setattr(doctor, "distribution", lambda name: told)
    versions = {"gguf": "0.5", "lm-eval": "0.4rc9"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, ""))
    doctor._extra_names.cache_clear()
    assert doctor._extras() == {"gguf": ["gguf"], "eval": ["lm-eval"]}
    versions |= {"gguf": "0.6", "lm-eval": "0.5rc1"}
    assert doctor._extras() == {"gguf": [], "eval": []}
    del versions["gguf"]
    assert doctor._extras()["gguf"] == ["gguf"]
    doctor._extra_names.cache_clear()


def test_the_cache_holds_the_newest_snapshots_of_what_has_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_cache, "cache_folder", lambda: tmp_path / "hub")
    assert list(hub_cache.models()) == []
    for name, size in (("a--b", 7), ("c--d", 5)):
        folder = tmp_path / "hub" / f"models--{name}" / "snapshots" / "1"
        folder.mkdir(parents=True)
        (folder / "x.safetensors").write_bytes(b"x" * size)
        (folder / "config.json").write_bytes(b"{}")
    (tmp_path / "hub" / "models--no--weights" / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "hub" / "models--no--snapshots").mkdir()
    newest = tmp_path / "hub" / "models--a--b" / "snapshots" / "x.bin"
    newest.write_bytes(b"x")
    os.utime(newest, (2**33, 2**33))
    assert [(m.repo, m.num_files, m.nbytes) for m in hub_cache.models()] == [("a/b", 1, 7), ("c/d", 1, 5)]
    assert hub_cache.find("c/d") == hub_cache.Cached("c/d", 1, 5)
    assert hub_cache.find("no/weights") is None


# zoo plugins, zoo check-plugin


def test_each_state_of_a_plugin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        Plugin("a", "zoo-a", "1", "built in", seconds=9.0), Plugin("b", "zoo-b", "2", "loaded", seconds=0.0125),
        Plugin("c", "zoo-c", "3", "broken", "no torch"), Plugin("d", "zoo-d", "4", "blocked", "by -p"),
        Plugin("e", "zoo-e", "5", "refused", "too new"), Plugin("f", "zoo-f", "6", "loaded", seconds=0.625),
    ]  # fmt: skip
    assert [plugins.state(p) for p in rows] == [
        "built in", "loaded in 12 ms", "BROKEN  no torch", "blocked  by -p", "refused  too new", "loaded in 625 ms"
    ]  # fmt: skip
    monkeypatch.setattr(plugins, "installed", lambda: SimpleNamespace(try_out=lambda: None, plugins=rows))
    done = run("plugins")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["plugin", "a", "b", "c", "e", "f"]
    assert "d (by -p)" in done.stderr
    assert "f (0.6 s)" in done.stderr
    assert "a (" not in done.stderr
    done = run("plugins", "--all")
    assert "d\t4\tzoo-d" in done.stdout
    assert "blocked:" not in done.stderr
    assert plugins.to_dict(rows[1])["seconds"] == 0.0125


CHECKS = [
    Check("model", "first", "ok", "fine", 1), Check("model", "second", "fail", "x" * 90, 2),
    Check("cache", "third", "skip", "none", 3),
]  # fmt: skip


def test_checks_are_counted_and_a_passing_plugin_is_told_what_comes_next() -> None:
    assert check_plugin.summary(Counter(ok=3, skip=1), is_published=True) == "3 ok, 1 skipped."
    assert check_plugin.summary(Counter(ok=3), is_published=False).startswith("3 ok. Publish: ")
    assert check_plugin.summary(Counter(ok=3, fail=2), is_published=False) == "3 ok, 2 failed"
    told = check_plugin.to_dict("mine", {"": [Check("registry", "loads", "ok", "")], "a": CHECKS})
    assert (told["name"], told["ok"], told["skip"], told["fail"]) == ("mine", 2, 1, 1)
    assert [(c["family"], c["name"]) for c in told["checks"]] == [("", "loads"), *(("a", c.name) for c in CHECKS)]


def test_a_family_stands_before_its_property_where_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    check_plugin._tell({"": [], "a": CHECKS}, quiet=False, truncate=True)
    one = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:4] for row in one[1:]] == [
        ["1", "model", "first", "ok"], ["2", "model", "second", "fail"], ["3", "cache", "third", "skip"]
    ]  # fmt: skip
    check_plugin._tell({"": [], "a": CHECKS, "b": CHECKS[:1]}, quiet=False, truncate=True)
    several = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[2] for row in several[1:]] == ["a: first", "a: second", "a: third", "b: first"]
    check_plugin._tell({"": [], "a": CHECKS}, quiet=True, truncate=True)
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["#", "2"]
    check_plugin._tell({"": [], "a": CHECKS[:1]}, quiet=True, truncate=True)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("_on_terminal")
def test_a_failure_is_repeated_whole_where_the_table_cuts_it(capsys: pytest.CaptureFixture[str]) -> None:
    check_plugin._tell({"": [], "a": CHECKS}, quiet=False, truncate=True)
    out, err = capsys.readouterr()
    assert "x" * 90 not in out
    assert err.startswith("2 ")
    assert "x" * 90 in err
    check_plugin._tell({"": [], "a": CHECKS}, quiet=False, truncate=False)
    out, err = capsys.readouterr()
    assert "x" * 90 in out
    assert err == ""


@pytest.mark.usefixtures("_on_terminal")
def test_a_table_leaves_out_columns_that_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [output.Column("one"), output.Column("none"), output.Column("two", lambda n: f"{n}!", is_number=True)]
    output.table(columns, [["a", None, 3], ["", "", None]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.strip()] == [["one", "two"], ["a", "3!"], ["-", "-"]]
    output.table(columns, [])
    assert capsys.readouterr().out.split() == ["one", "none", "two"]
    output.fields([("a", "1"), ("long", "2")])
    assert capsys.readouterr().out.splitlines() == ["  a     1", "  long  2"]


def test_pipes_get_values_plain(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [output.Column("a", lambda n: f"{n}!"), output.Column("b"), output.Column("c"), output.Column("d")]
    output.table(columns, [[3, None, True, False]])
    output.fields([("a", "1")])
    assert capsys.readouterr().out == "a\tb\tc\td\n3\t\tyes\t\na\t1\n"


# zoo list, zoo show, zoo inspect


def test_a_pattern_without_a_match_tells_of_other_families() -> None:
    told = run("list", "gpt2", "--family", "llama", code=2).stderr
    assert "llama" in told
    assert "of other families" in told
    assert "gpt2 and 3 more" in told
    assert "of other families" not in run("list", "no-such-name", code=2).stderr
    done = run("list", "gpt2-x*")
    assert done.stdout.splitlines()[1].split("\t")[:3] == ["gpt2-xl", "gpt2", "1557611200"]
    total = len(presets.list_models())
    assert f"1 of {total} models. More: zoo show gpt2-xl" in done.stderr
    assert run("list", "-q").stdout.split() == [r.name for r in presets.list_models()]
    record = next(r for r in presets.list_models() if r.name == "gpt2")
    row = list_command._row(record, frozenset({"gpt2"}))
    assert (row[0], row[-2]) == ("gpt2", "in the box")
    assert list_command._row(record, frozenset())[-2] == record.hub


def test_lines_name_the_override_that_changed_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composed by addition: each override adds its number to one line, and `both` needs another."""

    def composed(model: str, overrides: list[str]) -> dict[str, int]:
        if "both=1" in overrides and "a=1" not in overrides:
            raise ZooError("no")
        return {"A": "a=1" in overrides, "B": "b=2 c" in overrides, "C": 0}

    monkeypatch.setattr(show, "_composed", composed)
    monkeypatch.setattr(show, "rows", lambda config: [(name, str(n)) for name, n in config.items()])
    told = [("A", "True"), ("B", "True"), ("C", "0")]
    causes = show._causes("m", ["a=1", "b=2 c"], told)
    assert {name: words.strip(" ←") for name, words in causes.items()} == {
        "A": "a=1 (command line)", "B": "'b=2 c' (command line)"
    }  # fmt: skip
    assert show._causes("m", ["a=1", "both=1"], told[:1])["A"].strip(" ←") == "a=1 (command line)"
    assert set(show._causes("m", ["a=1", "both=1"], told)) == {"A", "B", "C"}


def test_show_completes_a_model_and_then_its_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("zoo.cli.completion.models", lambda text: asked.append(text))
    monkeypatch.setattr("zoo.cli.completion.overrides", lambda *given, **more: asked.append((given, more)))
    for params in ({}, {"model": "gpt2"}, {"model": "gpt2", "overrides": ("a=1", "b=2")}):
        show.complete(SimpleNamespace(params=params), None, "x")  # type: ignore[arg-type]
    assert asked == [
        "x", (("build", ["gpt2"], "x"), {"with_keys": False}),
        (("build", ["gpt2", "a=1", "b=2"], "x"), {"with_keys": False}),
    ]  # fmt: skip


def test_show_tells_whose_a_model_is() -> None:
    config = presets.config("gpt2")
    plugin = installed().origin["gpt2"]
    assert show._provider(config) == f"plugin {plugin.name} {plugin.version} (built in)"
    told = show.to_dict("gpt2", config)
    assert told["plugin"] == {"name": plugin.name, "package": plugin.distribution, "version": plugin.version}
    assert told["size"]["parameters"] == 124_439_808  # of the released GPT-2
    ends = dict(show._ends("gpt2", config))
    assert ends["Try"] == "zoo build gpt2 model.num_layers=2"
    assert ends["Source"] == config.source
    assert "Source" not in dict(show._ends("gpt2", SimpleNamespace(source="", hub="", gated=False)))  # type: ignore[arg-type]


def test_words_behind_a_checkpoint_are_overrides_or_a_family() -> None:
    words = ("family=llama", "model.num_layers=2", "rope=yarn", "~rope", "+model.x=1")
    assert inspect.chosen(words) == (["model.num_layers=2", "rope=yarn", "~rope", "+model.x=1"], "llama")
    assert inspect.chosen(()) == ([], None)
    for wrong in ("family=", "model.num_layers", "seed=3", "rope", "x"):
        with pytest.raises(click.UsageError, match="is neither"):
            inspect.chosen((wrong,))


def keys(**more: Any) -> Any:
    told: dict[str, Any] = {"name": "config.json", "raw": dict.fromkeys("abcdefg"), "used": {"a", "b"},
                            "inert": {"c", "d", "e"}, "allowed": [], "groups": []}  # fmt: skip
    return SimpleNamespace(**(told | more))


def ledger(**more: Any) -> Any:
    told: dict[str, Any] = {
        "keys": keys(), "commit": "", "source": "there", "nbytes": 2048, "reasons": ["its type", "its names"],
        "checkpoint": SimpleNamespace(files=["a"]), "dtypes": {"float32": 3}, "family": SimpleNamespace(name="llama"),
        "dialect": "hf", "account": SimpleNamespace(summary=lambda: "all read"), "num_parameters": 1_500,
        "assumed": {}, "notes": [],
    }  # fmt: skip
    return SimpleNamespace(**(told | more))


def test_a_ledger_is_a_line_per_account() -> None:
    plain = inspect.lines(ledger())
    assert plain[0].split(None, 1) == ["source", "there · 1 weight file, 2 KiB"]
    assert "llama (its type; its names) · format hf" in plain[1]
    assert "7 keys: 2 used · 3 inert (c, d and 1 more) · 2 unknown" in plain[2]
    assert "allowed" not in " ".join(plain)
    assert plain[-1].split() == ["parameters", "1.50k"]
    group = keys(name="text", allowed=["x"], inert=set())
    told = inspect.lines(
        ledger(
            commit="0123456789ab",
            checkpoint=SimpleNamespace(files=["a", "b"]),
            assumed={"eps": 1e-6},
            notes=["assumed eps", "another"],
            keys=keys(allowed=["f"], groups=[group]),
            dtypes={"float16": 1, "int8": 2},
        )
    )
    text = "\n".join(told)
    assert "there @ 01234567 · 2 weight files" in told[0]
    assert "1 allowed · 1 unknown" in told[2]
    assert "text: 7 keys: 2 used · 0 inert · 1 allowed · 4 unknown" in told[3]
    assert "float16 (1), int8 (2)" in text
    assert "assumed    eps=1e-06" in text
    assert "allowed    f, text.x" in text
    assert told[-1] == "note       another"
    assert inspect.lines(ledger(notes=["first", "second"]))[-2:] == ["note       first", "note       second"]


# options handed on


def test_own_presets_are_hydras_only_where_they_are_trusted(tmp_path: Path) -> None:
    assert OwnPresets.of(None, False) == OwnPresets(None, False)
    assert OwnPresets.of(str(tmp_path), False).flags == []
    assert OwnPresets.of(str(tmp_path), True).flags == [f"--config-dir={tmp_path}"]
    with pytest.raises(UsageError, match="needs a folder"):
        OwnPresets.of(None, True)


def test_hidden_presets_and_what_is_not_read_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    for name in ("gpt2", "llama3", "mine"):
        (tmp_path / "model" / f"{name}.yaml").write_text("defaults: [/schema/llama@_here_, _self_]\n")
    (tmp_path / "notes.yaml").write_text("")
    (tmp_path / "rope").mkdir()
    for name in ("yarn", "own"):
        (tmp_path / "rope" / f"{name}.yaml").write_text("# @package model.rope\nscaling: yarn\n")
    OwnPresets(tmp_path, False).tell()
    told = [line for line in capsys.readouterr().err.splitlines() if "not loaded" not in line]
    assert all(line.startswith("note: ") for line in told)
    text = "\n".join(told)
    assert "gpt2" in text
    assert "llama3" in text
    assert "mine" not in text
    assert "notes.yaml" in text
    assert "yarn" in text
    assert "own" not in text.replace("own.", "").split()
    OwnPresets(tmp_path, True).tell()
    trusted = capsys.readouterr().err
    assert "gpt2" in trusted
    assert "yarn" not in trusted
    OwnPresets(None, False).tell()
    assert "gpt2" not in capsys.readouterr().err


def test_eval_hands_on_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    score = SimpleNamespace(task="t", metric="acc", filter="none", value=0.25, stderr=None)
    found = SimpleNamespace(
        family="llama",
        dtype="float16",
        texts={},
        references={},
        scores=[score],
        to_dict=lambda: {"a": 1},
        compile_seconds=12.3,
    )
    monkeypatch.setattr(
        "zoo.measurement.evaluation.evaluate", lambda *given, **more: asked.append((given, more)) or found
    )
    line = "tiny model.num_layers=2 family=llama --allow x --allow-pickle --tasks a,,b --include-path . --limit 3"
    done = run(
        "eval",
        *line.split(),
        *"--num-fewshot 0 --batch 5 --device meta --dtype float16 --compile --window 9 --stride 4".split(),
    )
    ((given, more),) = asked
    assert given == ("tiny", "model.num_layers=2")
    assert more.items() >= {
        "text": (), "tasks": ["a", "b"], "include_path": ".", "window": 9, "stride": 4, "limit": 3, "num_fewshot": 0,
        "batch_size": 5, "dtype": "float16", "device": "meta", "compile": True, "family": "llama", "allow": ("x",),
        "allow_pickle": True, "tell": None,
    }.items()  # fmt: skip
    assert done.stdout.splitlines() == ["task\tmetric\tfilter\tvalue\tstderr", "t\tacc\tnone\t0.25\t"]
    assert "tiny · llama · computed in float16" in done.stderr
    assert "compiled in 12 s" in done.stderr
    assert run("eval", "tiny", "--json").stdout == '{\n  "a": 1\n}\n'
    wrong_ones = (
        "--limit 3|--num-fewshot 0|--include-path .|--tasks ,|--tasks a --limit 0|--window 0|--stride 0|--batch 0"
    )
    for wrong in map(str.split, wrong_ones.split("|")):
        assert run("eval", "tiny", *wrong, code=2).stdout == ""
    assert len(asked) == 2


def test_verify_hands_on_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    found = SimpleNamespace(passed=True, table=lambda: "table", to_dict=lambda: {"a": 1})
    monkeypatch.setattr(verification, "verify", lambda *given, **more: asked.append((given, more)) or found)
    line = "tiny model.num_layers=2 family=llama --allow x --allow-pickle --dtype float32 --length 9 --limit 0.5"
    assert run("verify", *line.split(), "--against", "other").stdout == "table\n"
    assert run("verify", "tiny", "--json").stdout == '{\n  "a": 1\n}\n'
    found.passed = False
    run("verify", "tiny", code=1)
    assert asked[0] == (
        ("tiny", "model.num_layers=2"),
        {"family": "llama", "allow": ("x",), "allow_pickle": True, "dtype": "float32", "length": 9, "limit": 0.5,
         "against": "other"},
    )  # fmt: skip
    assert asked[1][1]["against"] == "transformers"


def test_compare_hands_on_every_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    found = SimpleNamespace(
        html=lambda: "page",
        to_dict=lambda: {"a": 1},
        markdown=lambda is_short: "| md |",
        measurements=None,
        rows=(),
        subjects=(),
    )
    monkeypatch.setattr("zoo.cli.compare.compare", lambda *given, **more: asked.append((given, more)) or found)
    page = tmp_path / "x.html"
    words = ["compare", "a", "b", "--length", "9", "--lora-rank", "3", "--bytes-dtype", "float16"]
    done = run(*words, "--html", str(page))
    assert (done.stdout, page.read_text()) == ("", "page")
    assert "4 B" in done.stderr
    assert list(tmp_path.iterdir()) == [page]
    plain = {"length": 9, "lora_rank": 3, "bytes_dtype": "float16", "text": None, "adapter": None}
    assert asked.pop() == (("a", "b"), plain)
    more = ["--text", "sample", "--speed", "--window", "8", "--stride", "4", "--dtype", "float32", "--device", "meta"]
    assert run(*words, *more, "--md").stdout == "| md |\n"
    told = asked.pop()[1]
    assert (told["text"], told["speed"], told["window"], told["stride"]) == ("sample", True, 8, 4)
    assert (told["dtype"], told["device"], told["tell"]) == ("float32", "meta", None)
    assert run(*words, "--json").stdout == '{\n  "a": 1\n}\n'
    for wrong in (["--speed"], ["--window", "8"], ["--dtype", "float32"], ["--json", "--md"], ["--html", "x.txt"],
                  ["--html", str(tmp_path / "no" / "x.html")]):  # fmt: skip
        run(*words, *wrong, code=2)


def test_pull_tells_what_would_come(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        SimpleNamespace(name="a", nbytes=1024, is_cached=True),
        SimpleNamespace(name="b", nbytes=1, is_cached=False),
    ]
    found = SimpleNamespace(
        files=files, repo="org/name", commit="0123456789ab", revision="v1", nbytes=1025, missing_bytes=1,
        folder="/there", to_dict=lambda: {"a": 1},
    )  # fmt: skip
    asked: list[Any] = []
    monkeypatch.setattr(pull, "pull", lambda *given, **more: asked.append((given, more)) or found)
    words = ["pull", "org/name", "--revision", "v1", "--to", "there", "--allow-pickle", "--force"]
    dry = run(*words, "--dry-run")
    assert dry.stdout.splitlines() == ["file\tbytes\tcached", "a\t1024\tyes", "b\t1\t"]
    assert "hf://org/name @ 01234567 (v1) · 2 files" in dry.stderr
    assert "1 cached" in dry.stderr
    assert asked[0] == (
        ("org/name",),
        {"revision": "v1", "folder": "there", "allow_pickle": True, "force": True, "dry_run": True, "announce": None},
    )
    assert dict(line.split("\t") for line in run(*words).stdout.splitlines())["folder"] == "/there"
    assert asked[1][1]["announce"] is pull.announce
    assert (pull._yes(True), pull._yes(False)) == ("yes", "no")
    one = SimpleNamespace(**{**vars(found), "files": files[:1], "revision": found.commit})
    assert "(" not in pull.in_words(one)  # type: ignore[arg-type]
    assert " 1 file," in pull.in_words(one)  # type: ignore[arg-type]
