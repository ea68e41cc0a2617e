"""What a plugin may import of zoo: the rooms below, and of each the names in its `__all__`. The rest may change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from zoo.testing.check import require, shown
from zoo.testing.subject import Subject

PUBLIC = (
    "zoo", "zoo.anatomy", "zoo.errors", "zoo.generation", "zoo.nn", "zoo.nn.stand_ins", "zoo.nn.vision",
    "zoo.registry", "zoo.testing", "zoo.vision", "zoo.weights", "zoo.weights.ahead", "zoo.weights.gguf.biased",
    "zoo.weights.gguf.by_layer", "zoo.weights.gguf.experts", "zoo.weights.gguf.layout", "zoo.weights.gguf.longrope",
    "zoo.weights.gguf.ops", "zoo.weights.gguf.rope", "zoo.weights.hf_layout",
)  # fmt: skip


def its_plugin_imports_what_plugins_may_rely_on(s: Subject) -> str:
    """Anything else of zoo may be renamed in any version."""
    package = s.family.config.partition(":")[0].rpartition(".")[0]
    names = sorted({name for file in _sources(package) for name in imported(file)})
    require(not (foreign := [name for name in names if not is_public(name)]), shown(foreign))
    return f"{len(names)} names"


def imported(file: Path) -> Iterator[str]:
    """What a source file imports of zoo, dotted; its own plugin among ours is no part of zoo."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "zoo" and not name.startswith("zoo.plugins"))


def is_public(name: str) -> bool:
    """Whether a dotted name is one of a public room, or such a room itself."""
    room, _, leaf = name.rpartition(".")
    return name in PUBLIC or (room in PUBLIC and leaf in import_module(room).__all__)


def _sources(package: str) -> Iterator[Path]:
    spec = find_spec(package) if package else None
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(Path(folder).rglob("*.py"))


PROPERTIES = (its_plugin_imports_what_plugins_may_rely_on,)
