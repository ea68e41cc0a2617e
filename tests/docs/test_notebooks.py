"""The notebooks run from top to bottom, and hold nothing of the machine on which they were written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.docs.deviations import ROOT
from tools.docs.notebooks import cells, notebooks, run

NOTEBOOKS = notebooks()


def test_there_are_three_and_both_languages_name_them() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["compare", "convert-and-verify", "write-a-family"]
    for language in ("en", "zh"):
        page = (ROOT / "docs" / language / "notebooks.md").read_text(encoding="utf-8")
        assert all(f"docs/notebooks/{file.name}" in page for file in NOTEBOOKS)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_stored_without_outputs_and_paths(file: Path) -> None:
    told = json.loads(file.read_text(encoding="utf-8"))
    assert (told["nbformat"], told["nbformat_minor"]) == (4, 5)
    assert set(told["metadata"]) == {"kernelspec", "language_info"}
    assert told["metadata"]["language_info"] == {"name": "python"}  # a version would be that of one machine
    assert len({cell["id"] for cell in told["cells"]}) == len(told["cells"])
    code = [cell for cell in told["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None and cell["metadata"] == {} for cell in code)
    assert not [text for text in cells(file) if "/home/" in text or "/tmp" in text or "hf://" in text or "http" in text]
    assert cells(file, "markdown")[0].startswith("# ")


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shown = run(file)
    printed = capsys.readouterr().out
    if file.stem == "compare":
        assert "<iframe" in shown[1]._repr_html_()  # type: ignore[attr-defined]
    elif file.stem == "convert-and-verify":
        assert "missing     lm_head.weight" in printed
        assert "Fix: model.rope.theta=10000" in printed
    else:
        assert "src/zoo_pebble/model.py" in printed
