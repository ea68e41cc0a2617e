"""A family's files are read from top to bottom in five minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "plugins"


@pytest.mark.parametrize(("pattern", "limit"), [("*model.py", 200), ("*hf*.py", 120)])
def test_models_and_dialects_are_short(pattern: str, limit: int) -> None:
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in ROOT.glob(f"*/{pattern}")}
    assert len(lines) >= len([folder for folder in ROOT.iterdir() if (folder / "model.py").exists()]) - 1
    assert {name: count for name, count in lines.items() if count >= limit} == {}
