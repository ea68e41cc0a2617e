"""The notebooks of docs/notebooks as programs: their cells of code, run one after another."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .deviations import ROOT

FOLDER = ROOT / "docs" / "notebooks"


def notebooks() -> list[Path]:
    """Every notebook."""
    return sorted(FOLDER.glob("*.ipynb"))


def cells(file: Path, kind: str = "code") -> list[str]:
    """The text of a notebook's cells of one kind."""
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in told["cells"] if cell["cell_type"] == kind]


def run(file: Path) -> list[object]:
    """Run a notebook's code in a module of its own: the value of each cell's last line, which a notebook shows."""
    module = ModuleType("__notebook__")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        return [_run(text, f"{file.name}, cell {i}", vars(module)) for i, text in enumerate(cells(file), 1)]
    finally:
        del sys.modules[module.__name__]


def _run(text: str, name: str, names: dict[str, Any]) -> object:
    tree = ast.parse(text)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    return eval(compile(ast.Expression(last.value), name, "eval"), names) if isinstance(last, ast.Expr) else None
