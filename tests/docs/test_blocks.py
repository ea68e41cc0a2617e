"""Every code block of the pages that is marked to be run runs; one child per block, as a reader would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import prepared
from tools.docs.blocks import Example, examples, unsaid
from tools.docs.deviations import ROOT

pytestmark = pytest.mark.slow  # runs the pages' commands

TUTORIAL = "add-a-family.md"  # its blocks are steps: see test_tutorial


def found(*, is_slow: bool) -> list[object]:
    written = [
        page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != TUTORIAL
    ]  # English before Chinese
    shown = {
        (it.block.text, it.printed): pytest.param(it, id=f"{page.relative_to(ROOT)}:{it.block.line}")
        for page in reversed([ROOT / "README.md", ROOT / "README.zh-CN.md", *written])
        for it in examples(page.read_text(encoding="utf-8"))
        if it.block.is_slow is is_slow
    }
    return [*reversed(shown.values())]  # what both languages run is run once


@pytest.mark.parametrize("example", found(is_slow=False))
def test_cheap_block_runs(example: Example, tmp_path: Path) -> None:
    run(example, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("example", found(is_slow=True))
def test_block_runs(example: Example, tmp_path: Path) -> None:
    run(example, tmp_path)


def test_a_line_that_was_not_printed_is_missed() -> None:
    assert unsaid(("a  b", "…", "c"), "a b\nx\nc\n") == []
    assert unsaid(("c", "a b"), "a b\nc\n") == ["a b"]
    assert unsaid(("88/122 agree",), "next token 88/122 agree") == ["88/122 agree"]


def run(example: Example, folder: Path) -> None:
    """Run a block in an empty folder, with a `zoo` first in the path that has torch imported already."""
    block = example.block
    bin, here = folder / "bin", folder / "here"
    for made in (bin, here):
        made.mkdir()
    environment = {**os.environ, **prepared.program(bin), "OMP_NUM_THREADS": "1"}
    if block.language == "python":
        done = prepared.run(block.text, (), environment, cwd=here, timeout=120)
    else:
        done = subprocess.run(
            ["bash", "-euc", block.text],
            cwd=here,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    told = f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.returncode == block.exit_code, told
    assert not unsaid(example.printed, done.stdout + done.stderr), told
