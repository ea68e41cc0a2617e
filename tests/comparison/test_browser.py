"""The page in a real browser without a network: nothing is wider than the window, and the console stays silent.

Headless Chromium's own windows are at least 500 pixels wide, so that the page is measured in a frame.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from zoo.comparison import compare

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=2000 --enable-logging=stderr"
).split()

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

# A frame of the page's own width around it, whose script measures: the page itself allows none.
PROBE = """<!doctype html><body style="margin:0"><iframe id="f" style="border:0;width:{width}px;height:900px"></iframe>
<script>const f = document.getElementById('f'); f.onload = () => {{
  const d = f.contentDocument.documentElement;
  const over = [...d.querySelectorAll('svg text')].filter(t => {{
    const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
    return b.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1); }});
  document.title = `${{d.scrollWidth}} ${{f.clientWidth}} ${{over.length}} ${{d.querySelectorAll('svg').length}}`; }};
f.srcdoc = PAGE;</script>"""


def browse(file: Path, tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Chromium on a file, with a profile of its own and every host unknown to it."""
    assert CHROMIUM is not None
    words = [CHROMIUM, *FLAGS, "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    return subprocess.run(
        [*words, *flags, file.as_uri()], capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path
    )


@pytest.mark.parametrize("width", [390, 760, 1280])
def test_nothing_is_wider_than_the_window(width, tmp_path):
    import json

    text = compare("gpt2", "llama3", "gemma2-9b", "deepseek-v2-lite", "chatglm-6b").html()
    script = json.dumps(text).replace("</", "<\\/")
    file = tmp_path / "probe.html"
    file.write_text(PROBE.format(width=width).replace("PAGE", script), encoding="utf-8")
    done = browse(file, tmp_path, "--dump-dom", "--window-size=1400,1000")
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    wide, window, over, drawings = map(int, title.groups())
    assert window == width
    assert wide <= window
    assert over == 0  # no text of a drawing reaches beyond it
    assert drawings > 15


def test_the_console_stays_silent(tmp_path):
    file = tmp_path / "report.html"
    file.write_text(compare("gpt2", "bloom-7b1").html(), encoding="utf-8")
    done = browse(file, tmp_path, f"--screenshot={tmp_path / 'shot.png'}", "--window-size=1280,1600")
    assert "CONSOLE" not in done.stderr
    assert (tmp_path / "shot.png").stat().st_size > 20_000
