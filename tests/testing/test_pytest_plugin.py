"""zoo.testing.pytest_plugin makes a test of every family and property, and reports what does not apply as skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import prepared
from tests.distributions import PYTEST
from zoo.registry import installed

TEST = """
import pytest

@pytest.mark.zoo_distribution({name!r})
def test_contract(zoo_check):
    assert zoo_check.state == "ok", zoo_check
"""


def run(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(text)
    plain = "-q -rs -p no:cacheprovider -p no:hydra_pytest --strict-markers -p zoo.testing.pytest_plugin --rootdir"
    words = (*plain.split(), str(folder), *words, str(folder))
    return prepared.run(PYTEST, words, os.environ, cwd=folder, timeout=120)


@pytest.mark.slow
def test_each_property_of_each_family_is_a_test(tmp_path: Path) -> None:
    done = run(tmp_path, TEST.format(name="zoo-lm"), "-k", "bert-cache and one_by_one or bert-docs")
    # bert, distilbert and more: of each one property of caches is skipped and three of docs hold.
    count = sum(name.endswith("bert") for name in installed().families)
    assert f"{3 * count} passed, {count} skipped" in done.stdout, done.stdout
    assert "it does not decode" in done.stdout


@pytest.mark.slow
def test_a_wrong_use_is_said_in_words(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_contract(zoo_check): ...")
    assert "zoo_check needs @pytest.mark.zoo_distribution(NAME)" in done.stdout + done.stderr
    done = run(tmp_path, TEST.format(name="zoo-absent"))
    assert done.returncode
    assert "no family, plugin or distribution is called 'zoo-absent'" in done.stdout + done.stderr


def test_nobody_pays_for_it_who_does_not_name_it() -> None:
    from importlib.metadata import entry_points

    assert not [p for p in entry_points(group="pytest11") if p.value.startswith("zoo")]
