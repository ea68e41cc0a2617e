"""One word for one idea: what a name means does not depend on where it stands."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for file in sorted(ROOT.glob("zoo/**/*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert len(places) > 150
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_json_is_printed_by_one_function() -> None:
    printing = [f for f in ROOT.glob("zoo/cli/*.py") if "echo(json.dumps" in f.read_text(encoding="utf-8")]
    assert [f.name for f in printing] == ["output.py"]
