"""What contributors and continuous integration go by says what the code says."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

import zoo
from tools.docs.deviations import ROOT


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load(text(f".github/workflows/{name}.yml"))


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_tests_run_on_every_python_that_is_allowed() -> None:
    lowest = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    for job in ("fast", "full"):
        pythons = workflow("tests")["jobs"][job]["strategy"]["matrix"]["python"]
        assert pythons == [f"3.{minor}" for minor in range(int(lowest.partition(".")[2]), 15)]


def test_the_readmes_commands_are_those_that_are_run() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", text("README.md"), re.DOTALL)
    begin, *_, tests = blocks
    lines = [line for line in begin.splitlines() if not line.startswith(("git clone ", "python3 -m venv"))]
    assert len(lines) == 2
    assert begin.startswith("git clone ")
    for line in [*lines, *tests.splitlines()]:
        for part in line.split(" && "):
            shown = part.replace("pip install", "pip install -q")
            assert part in text(".ci/run") or shown in text(".ci/run"), part
            assert part in commands(workflow("tests")["jobs"]["full"]), part


def test_the_checks_are_run_by_continuous_integration_too() -> None:
    assert "tools/check" in commands(workflow("tests")["jobs"]["fast"])
    assert "\ntools/check\n" in text(".ci/run")
    for tool in ("ruff format --check", "ruff check", "pyrefly check", "lint-imports"):
        assert f"run {tool}" in text("tools/check")


def test_only_a_tag_publishes_and_no_secret_is_named() -> None:
    publish = workflow("publish")
    assert publish[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as true
    assert publish["jobs"]["build"]["needs"] == "tests"
    assert publish["jobs"]["pypi"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in text(".github/workflows/publish.yml")


def test_the_citation_and_the_changelog_know_the_version() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert citation["version"] == zoo.__version__ == project["version"]
    assert citation["license"] == project["license"]
    assert re.search(r"^## Unreleased$", text("CHANGELOG.md"), re.MULTILINE)


def test_nothing_says_to_install_from_where_nothing_is_published() -> None:
    """`pip install 'zoo-lm[extra]'` is said where zoo is installed already: pip then adds the packages of the extra."""
    said = re.compile(r"install (?:[^`\n]* )?['\"]?zoo-lm(?!\[)|badge|img\.shields")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    code = [file for room in ("zoo", "plugins", "conf", "tests/plugin") for file in (ROOT / room).rglob("*.*")]
    written = [file for file in [*pages, *code] if file.suffix in {".md", ".ipynb", ".py", ".in", ".yaml", ".toml"}]
    assert len(written) > 400
    assert not [file for file in written if said.search(file.read_text(encoding="utf-8"))]
