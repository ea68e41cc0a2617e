"""The site builds in both languages without a warning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tools.docs.deviations import ROOT
from tools.docs.shelf import built_in

pytestmark = pytest.mark.slow


def test_the_site_builds_without_a_warning() -> None:
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
    assert (done.stdout + done.stderr).count("No issues found") == 2
    assert "warning" not in (done.stdout + done.stderr).lower()
    for language in ("", "zh/"):
        for name in built_in():
            page = (ROOT / f"build/site/{language}families/{name}/index.html").read_text(encoding="utf-8")
            # Nothing is fetched from elsewhere: no script, style or picture has a host.
            assert not re.search(r"<(?:script|img|link)[^>]*(?:src|href)=\"?https?:", page)
            other = f"../../{'zh/' if not language else '../'}families/{name}/"
            assert f'class="zoo-language" href="{other}"' in page
