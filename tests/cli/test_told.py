"""What commands make of what they were told: each state in words, each option handed on, for people and for pipes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from zoo import presets
from zoo.cli import check_plugin, inspect, main, output, plugins, show
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
