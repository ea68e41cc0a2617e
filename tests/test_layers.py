"""Who may import whom, where pyproject.toml does not say: plugins stand apart, and light modules stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "hydra", "omegaconf", "transformers", "huggingface_hub"}
PLUGINS = sorted(p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").exists())


def imports(file: Path) -> Iterator[str]:
    """Absolute names of what a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = file.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            yield ".".join([*base, *([node.module] if node.module else [])])


@pytest.mark.slow
def test_nobody_imports_the_plugins_and_they_do_not_import_each_other() -> None:
    bad = []
    for file in [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        room = file.relative_to(ROOT).parts
        for name in imports(file):
            parts = name.removeprefix("zoo.").split(".")
            if parts[0] == "plugins" and (room[0] != "plugins" or parts[1:2] != [room[1]]):
                bad.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not bad


def in_a_child(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip()


@pytest.mark.parametrize(
    "code",
    [
        "import zoo",
        "from zoo.registry import installed; installed().presets()",
        "import zoo; zoo.list_models()",
        "import zoo.cli",
        "import zoo.weights, zoo.files.checkpoint, zoo.checkpoint.inspection",
        "from zoo.registry import installed\n"
        "for f in installed().families.values():\n"
        "    f.config_class.tiny().anatomy()\n"
        "    'hf' in f.formats and f.dialect('hf').mapping(f.config_class.tiny())",
    ],
    ids=["zoo", "registry", "list_models", "cli", "inspection", "configs, anatomies and tables"],
)
def test_light_modules_import_nothing_heavy(code: str) -> None:
    assert in_a_child(f"{code}\nimport sys; print(sorted({HEAVY!r} & set(sys.modules)))") == "[]"


def test_nobody_instantiates_what_a_config_names() -> None:
    files = [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/**/*.py")]
    assert not [f for f in files if "hydra.utils" in f.read_text(encoding="utf-8")]


LONG = ("zoo/registry/plugins.py", "zoo/presets/composition.py")  # whose parts are on their way out


def test_a_file_is_short_enough_to_be_read_at_once() -> None:
    files = [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/**/*.py")]
    lengths = {str(f.relative_to(ROOT)): len(f.read_text(encoding="utf-8").splitlines()) for f in files}
    assert not {name: length for name, length in lengths.items() if length > 220 and name not in LONG}
