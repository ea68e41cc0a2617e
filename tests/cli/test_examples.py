"""Every help page ends with three examples, and those that need no network, no terminal and no file of yours run."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from zoo.cli import COMMANDS, main
from zoo.registry import installed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_jobs")]  # runs every command

NEEDS = {"hf://": "the network", "./": "a file of yours", "~/": "your home", "--install": "your home", "|": "a shell"}
NEEDS |= {'eval "': "a shell", "zoo chat": "a terminal"}


def examples(*command: str) -> list[str]:
    """The lines of a help page behind `Examples:`."""
    shown = CliRunner().invoke(main, [*command, "--help"], terminal_width=200).stdout
    assert "Examples:" in shown, f"zoo {' '.join(command)} --help has no examples"
    return [line.strip() for line in shown.rpartition("Examples:")[2].splitlines() if line.strip()]


def is_offline(example: str) -> bool:
    return not any(word in example for word in NEEDS)


PAGES = {"zoo": [], **{name: [name] for name in COMMANDS}}
RUN = [e for e in dict.fromkeys(e for command in PAGES.values() for e in examples(*command)) if is_offline(e)]


@pytest.mark.parametrize("page", PAGES)
def test_help_ends_with_three_examples(page):
    found = examples(*PAGES[page])
    assert len(found) == 3
    assert all("zoo" in example for example in found)


SLOW = ("zoo bench", "zoo eval")  # they do what takes a while


@pytest.mark.parametrize("example", [pytest.param(e, marks=pytest.mark.slow) if e.startswith(SLOW) else e for e in RUN])
def test_the_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_BLOCK", "")  # put back afterwards: an example may block a plugin
    result = CliRunner().invoke(main, shlex.split(example)[1:])
    installed.cache_clear()
    assert result.exit_code == 0, result.output
