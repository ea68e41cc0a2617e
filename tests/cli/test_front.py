"""The front of `zoo`: commands found lazily, errors in a few lines, exit codes that mean something."""

from __future__ import annotations

import errno
import json
import os
import signal
import warnings
from contextlib import suppress

import click
import pytest
from click.testing import CliRunner

import zoo.cli
from tests.distributions import python
from tests.distributions import zoo as run_zoo
from zoo.cli import COMMANDS, Entry, main, take_globals
from zoo.errors import MissingExtra, NetworkError, UsageError, ZooError, ZooWarning
from zoo.version import __version__


@pytest.fixture
def run():
    """`zoo` in this process: an object with exit_code, stdout and stderr."""
    return lambda *words: CliRunner().invoke(main, list(words))


@pytest.fixture
def failing(monkeypatch):
    """A function that gives `zoo` a command `fail` which raises an error."""

    def give(error: BaseException) -> None:
        @click.command()
        def fail() -> None:
            raise error

        monkeypatch.setattr(zoo.cli, "failing", fail, raising=False)
        monkeypatch.setitem(COMMANDS, "fail", Entry("Look", "zoo.cli:failing", ""))

    return give


def test_help_groups_the_commands(run):
    shown = run("--help").stdout
    order = [shown.index(f"\n{group}:") for group in ("Look", "Make", "Prove", "Run", "Extend", "Shell")]
    assert order == sorted(order)
    assert "build         Compose, build, summarise; -m sweeps." in shown
    assert run("-h").stdout == shown


def test_version(run):
    assert run("--version").stdout == f"zoo {__version__}\n"


def test_every_command_that_is_registered_is_there(run):
    for name in COMMANDS:
        assert run(name, "-h").exit_code == 0, name


def test_a_command_whose_module_is_missing_breaks_no_other(run, monkeypatch):
    monkeypatch.setitem(COMMANDS, "serve", Entry("Run", "zoo.cli.no_such_module:command", "Serves."))
    assert "Serves." not in run("--help").stdout
    assert run("--help").exit_code == 0
    assert run("serve").exit_code == 2


def test_an_unknown_command_is_met_with_the_nearest(run):
    result = run("buidl")
    assert result.exit_code == 2
    assert "zoo has no command 'buidl'\ndid you mean: build?" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZooError("bad data", why="because", hint="do this"), 1),
        (UsageError("bad data", why="because", hint="do this"), 2),
        (NetworkError("bad data", why="because", hint="do this"), 3),
    ],
)
def test_a_zoo_error_is_three_lines_and_its_exit_code(run, failing, error, code):
    failing(error)
    result = run("fail")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == "error: bad data\nbecause\ndo this\n"


def test_a_missing_extra_names_the_command_that_installs_it(run, failing):
    failing(MissingExtra("gguf", "gguf", "reading GGUF"))
    result = run("fail")
    assert result.exit_code == 3
    assert result.stderr == "error: reading GGUF needs the package gguf\npip install 'zoo-lm[gguf]'\n"


def test_ctrl_c_is_130(run, failing):
    failing(KeyboardInterrupt())
    assert run("fail").exit_code == 130


def test_ctrl_c_that_a_module_swallows_is_no_bug_of_zoo(run, monkeypatch):
    """numpy's import, cut off, is begun anew by the next one that needs it, and refuses that."""

    @click.command()
    def fail() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("cannot load module more than once per process")

    monkeypatch.setattr(zoo.cli, "failing", fail, raising=False)
    monkeypatch.setitem(COMMANDS, "fail", Entry("Look", "zoo.cli:failing", ""))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts beside it ignore it
    try:
        result = run("fail")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    told = "interrupted: ImportError: cannot load module more than once per process\n"
    assert (result.exit_code, result.stderr) == (130, told)


def test_a_note_is_told_once_wherever_it_comes_from(run, monkeypatch):
    """Python would show it again from another module, and after any `catch_warnings`."""

    @click.command()
    def noting() -> None:
        for module in ("one", "other"):
            with warnings.catch_warnings():
                pass
            warnings.warn_explicit("packed weights", ZooWarning, f"{module}.py", 1, module=module, registry={})

    monkeypatch.setattr(zoo.cli, "failing", noting, raising=False)
    monkeypatch.setitem(COMMANDS, "fail", Entry("Look", "zoo.cli:failing", ""))
    assert [run("fail").stderr for _ in range(2)] == ["note: packed weights\n"] * 2


def test_the_systems_errors_are_told_with_their_file(run, failing):
    failing(PermissionError(errno.EACCES, "Permission denied", "some/file"))
    result = run("fail")
    assert (result.exit_code, result.stderr) == (1, "error: some/file: Permission denied\n")


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (MemoryError(), "error: there is not enough memory\n"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1280000 bytes."),
            "error: there is not enough memory: 1,280,000 bytes were asked for\n",
        ),
    ],
)
def test_too_little_memory_is_no_bug(run, failing, error, printed):
    failing(error)
    result = run("fail")
    assert result.exit_code == 1
    assert result.stderr == printed + "ask for less, or for a smaller dtype\n"


def test_our_own_bug_is_one_line_unless_asked_for_more(run, failing):
    failing(RuntimeError("oops\nand more"))
    result = run("fail")
    assert result.exit_code == 70
    assert result.stderr == "error: zoo has a bug: RuntimeError: oops\nwhere: run it again with --debug\n"
    assert isinstance(run("fail", "--debug").exception, RuntimeError)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--debug", "build", "lama3"), ("build", "lama3", "--debug")])
def test_debug_shows_the_traceback_before_or_after_the_command(words):
    done = run_zoo(*words)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "no model is called 'lama3'" in done.stderr


def test_a_reader_that_had_enough_is_no_error():
    code = """if True:
        import os, sys
        from zoo.cli import main
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
        main(["list"])
    """
    done = python(code)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr


@pytest.mark.slow
def test_a_closed_stdout_is_no_error():
    code = "import os, sys; os.close(1); sys.stdout = None; from zoo.cli import main; main(sys.argv[1:])"
    for words in (["list", "-q"], ["list"], ["show", "tiny"]):
        done = python(code, *words)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_json_stays_whole_in_any_encoding():
    plain, narrow = (run_zoo("show", "gpt2", "--json", PYTHONIOENCODING=e) for e in ("utf-8", "iso8859-15"))
    assert json.loads(narrow.stdout) == json.loads(plain.stdout)


def test_global_options_are_taken_from_anywhere_before_two_dashes():
    assert take_globals(["-p", "no:a", "list", "--debug", "-p", "no:b"]) == (["list"], True, ["a", "b"])
    assert take_globals(["generate", "-p", "The dog"]) == (["generate", "-p", "The dog"], False, [])
    assert take_globals(["build", "-p", "model.rope"]) == (["build", "-p", "model.rope"], False, [])
    assert take_globals(["x", "--", "--debug", "-p", "no:a"]) == (["x", "--", "--debug", "-p", "no:a"], False, [])
    assert take_globals(["generate", "tiny", "-p", "no:more"]) == (["generate", "tiny", "-p", "no:more"], False, [])
    assert take_globals(["x", "-p"]) == (["x", "-p"], False, [])


@pytest.mark.parametrize("words", [("-p", "no:gpt2", "list", "-q"), ("list", "-q", "-p", "no:gpt2")])
def test_a_plugin_can_be_left_out(words):
    models = run_zoo(*words).stdout.split()
    assert "llama3" in models
    assert "gpt2" not in models


def test_a_plugin_left_out_by_a_wrong_name_is_told():
    done = run_zoo("-p", "no:lama", "list", "-q", "llama3-8b")
    assert (done.returncode, done.stdout) == (0, "llama3-8b\n")
    assert "note: -p no:lama has no effect: no plugin has this name; did you mean: llama" in done.stderr


def test_p_takes_nothing_but_no(run):
    result = run("-p", "gpt2", "list")
    assert result.exit_code == 2
    assert "'gpt2' is not no:NAME" in result.stderr


def test_a_blocked_plugin_stays_blocked_in_child_processes(run, monkeypatch):
    monkeypatch.setenv("ZOO_BLOCK", "llama")
    try:
        assert run("-p", "no:gpt2", "plugins", "--json").exit_code == 0
        assert os.environ["ZOO_BLOCK"] == "llama,gpt2"
    finally:
        from zoo.registry import installed

        installed.cache_clear()


def test_no_command_at_all_shows_the_help(run):
    result = run()
    assert result.exit_code == 2
    assert "Look:" in result.stderr


@pytest.mark.parametrize("words", [["help", "list"], ["list", "-h"], ["list", "--help"]])
def test_a_commands_help_is_asked_for_in_three_ways(words):
    assert " list [OPTIONS] [PATTERN]" in CliRunner().invoke(main, words).stdout.partition("\n")[0]


@pytest.mark.parametrize("words", [["help"], ["-h"], ["--help"]])
def test_zoos_own_help_too(words):
    assert "zoo help COMMAND" in CliRunner().invoke(main, words).stdout


def test_help_with_a_command_that_is_not_there_names_the_nearest():
    found = CliRunner().invoke(main, ["help", "lisst"])
    assert found.exit_code == 2
    assert "did you mean: list" in found.stderr
