"""Clients that come and go at random: the script that benches it, for a few seconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests import prepared

pytestmark = [pytest.mark.slow, pytest.mark.long]

SCRIPT = Path(__file__).parents[2] / "tools" / "bench" / "crowd.py"


def test_a_crowd_hangs_nothing_leaks_nothing_and_gets_the_texts_of_single_runs():
    words = "--seconds 4 --clients 16 --pool 8".split()
    code = f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = prepared.run(code, words, os.environ, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["finished"] > 0
    assert found["wrong"] == found["errors"] == found["rows_left"] == 0
