"""The tutorial's commands and files, from an empty folder to a wheel in a second environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_new_plugin import environment, run
from tests.distributions import install, prepared
from tests.verification.parallel import check
from tools.docs.blocks import marked
from tools.docs.deviations import ROOT
from zoo.scaffold import rendered, words_for

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "en" / "add-a-family.md"
CHINESE = ROOT / "docs" / "zh" / PAGE.name


def test_both_languages_have_the_same_steps() -> None:
    english, chinese = (
        [(block.kind, block.note, block.text) for block in marked(page.read_text(encoding="utf-8"))]
        for page in (PAGE, CHINESE)
    )
    assert english
    assert chinese == english


@pytest.mark.long
def test_the_tutorial_ends_with_a_wheel_in_a_second_environment(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend of plugins is in the dev extra")
    home, folder, told = tmp_path / "home", tmp_path, {}
    environment(home)
    for block in marked(PAGE.read_text(encoding="utf-8")):
        if block.kind == "file":
            (folder / block.note).write_text(block.text + "\n", encoding="utf-8")
            continue
        for command in block.text.splitlines():
            if command.startswith("cd "):
                folder /= command.removeprefix("cd ")
            elif block.exit_code:
                told[command] = run(f"{command}; test $? = {block.exit_code}", folder, home)
            else:
                told[command] = run(command, folder, home)
    assert "anatomy" in told["zoo check-plugin pebble --quiet"]
    assert "pebble-1b" in told["fresh/bin/zoo list pebble"]
    assert "pebble · 22 layers" in told["fresh/bin/zoo build model=pebble-1b"]
    assert "0 failed" in told["zoo check-plugin pebble"] or "failed" not in told["zoo check-plugin pebble"]


def test_the_tutorials_family_is_proved_and_each_mistake_planted_in_it_named(tmp_path: Path) -> None:
    """In float64 and float32, against Phi, which computes the same."""
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    blocks = marked(PAGE.read_text(encoding="utf-8"))
    files = rendered(words_for("pebble")) | {block.note: block.text for block in blocks if block.kind == "file"}
    sources = {name.removeprefix("src/"): text for name, text in files.items() if name.startswith("src/")}
    install(tmp_path, "zoo-pebble", {"pebble": "zoo_pebble"}, sources)
    done = prepared("from tests.docs.proofs_of_pebble import main; main()", site=tmp_path, timeout=300, reference=True)
    assert not done.returncode, done.stderr
    check(json.loads(done.stdout))
