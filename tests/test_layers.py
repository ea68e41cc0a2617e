"""Who may import whom, where pyproject.toml does not say: plugins stand apart, and light modules stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import Counter
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


def test_the_house_shows_its_rooms() -> None:
    beside = [f.name for f in (ROOT / "zoo").glob("*.py") if f.name not in ("__init__.py", "__main__.py")]
    assert len(beside) <= 5, beside


def test_every_room_has_its_place_in_the_import_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    named = {room for layer in contract[0]["layers"] for room in layer.split(" : ")}
    rooms = {f"zoo.{f.parent.name}" for f in (ROOT / "zoo").glob("*/__init__.py")}
    assert named == rooms | {f"zoo.{f.stem}" for f in (ROOT / "zoo").glob("*.py") if f.stem[:2] != "__"}


@pytest.mark.parametrize("root", ["zoo", "plugins"])
def test_three_files_with_one_prefix_are_a_folder(root: str) -> None:
    prefixes = Counter((f.parent.relative_to(ROOT), f.stem.split("_")[0]) for f in (ROOT / root).rglob("[!_]*.py"))
    assert not [f"{folder}/{prefix}*" for (folder, prefix), count in prefixes.items() if count > 2]


def test_a_file_of_the_core_is_short() -> None:
    lengths = {str(f.relative_to(ROOT)): len(f.read_text("utf-8").splitlines()) for f in (ROOT / "zoo").rglob("*.py")}
    assert not {name: lines for name, lines in lengths.items() if lines > 220}
