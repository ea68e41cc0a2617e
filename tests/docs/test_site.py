"""The site builds in both languages without a warning, fetches nothing, and leads nowhere that is not there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tools.docs.deviations import ROOT
from tools.docs.shelf import built_in

pytestmark = [pytest.mark.slow, pytest.mark.long]

SITE = ROOT / "build" / "site"


@pytest.fixture(scope="module")
def said() -> str:
    """What the build printed."""
    builder = os.environ.get("ZENSICAL") or shutil.which("zensical")
    if not builder:
        pytest.skip("zensical is not installed: pip install 'zoo-lm[docs]', best in an environment of its own")
    done = subprocess.run(
        ["tools/docs/build"],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "ZENSICAL": builder},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_the_site_builds_without_a_warning(said: str) -> None:
    assert said.count("No issues found") == 2
    assert "warning" not in said.lower()


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("language", ["", "zh/"])
def test_every_family_has_a_page_that_switches_to_the_other_language(language: str) -> None:
    for name in built_in():
        page = (SITE / f"{language}families/{name}/index.html").read_text(encoding="utf-8")
        other = "../../../families" if language else "../../zh/families"
        assert f'class="zoo-language" href="{other}/{name}/"' in page


@pytest.mark.usefixtures("said")
def test_nothing_is_fetched_from_elsewhere() -> None:
    for file in SITE.rglob("*.html"):
        page = file.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|link)[^>]*(?:src|href)=\"?(?:https?:)?//", page), file


@pytest.mark.usefixtures("said")
def test_every_link_inside_leads_somewhere() -> None:
    pages = {file: file.read_text(encoding="utf-8") for file in SITE.rglob("index.html")}
    ids = {file: set(re.findall(r'\bid="?([^"\s>]+)', text)) for file, text in pages.items()}
    broken = [
        f"{file.relative_to(SITE)} -> {target}"
        for file, text in pages.items()
        for target in re.findall(r'(?:href|src)="((?![a-z]+:|//)[^"]*)"', text)
        if not _is_there(file, target, ids)
    ]
    assert len(pages) > 2 * len(built_in())
    assert not broken


def _is_there(file: Path, target: str, ids: dict[Path, set[str]]) -> bool:
    path, _, anchor = target.partition("#")
    goal = Path(os.path.normpath(file.parent / unquote(path))) if path else file
    goal = goal / "index.html" if goal.is_dir() else goal
    return goal.exists() and (not anchor or goal not in ids or unquote(anchor) in ids[goal])
