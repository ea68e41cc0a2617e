"""Every code block of the pages that is marked to be run runs; one child per block, as a reader would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import prepared
from tools.docs.blocks import Block, marked
from tools.docs.deviations import ROOT

pytestmark = pytest.mark.slow  # runs the pages' commands

TUTORIAL = ROOT / "docs" / "en" / "add-a-family.md"  # its blocks are steps: see test_tutorial


def found(*, is_slow: bool) -> list[object]:
    pages = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page != TUTORIAL]  # English before Chinese
    blocks = {
        block.text: pytest.param(block, id=f"{page.relative_to(ROOT / 'docs')}:{block.line}")
        for page in reversed(pages)
        for block in marked(page.read_text(encoding="utf-8"))
        if block.is_slow is is_slow
    }
    return [*reversed(blocks.values())]  # what both languages run is run once


@pytest.mark.parametrize("block", found(is_slow=False))
def test_cheap_block_runs(block: Block, tmp_path: Path) -> None:
    run(block, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("block", found(is_slow=True))
def test_block_runs(block: Block, tmp_path: Path) -> None:
    run(block, tmp_path)


def run(block: Block, folder: Path) -> None:
    """Run a block in an empty folder, with a `zoo` first in the path that has torch imported already."""
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
    assert done.returncode == block.exit_code, f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
