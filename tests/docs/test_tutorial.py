"""The tutorial's commands and files, from an empty folder to a wheel in a second environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_new_plugin import environment, run
from tools.docs.blocks import marked
from tools.docs.deviations import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "en" / "add-a-family.md"


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
