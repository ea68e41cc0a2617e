"""`zoo new-plugin` writes a distribution that works as it is, from its first file to a wheel in another environment."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import tomllib
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import prepared
from zoo.cli import main
from zoo.scaffold import check_name, rendered, words_for
from zoo.version import __version__

HAS_REFERENCE = find_spec("transformers") is not None  # what has it imported has what ranks need, too


def zoo(*words: str) -> Result:
    return CliRunner().invoke(main, ["new-plugin", *words])


def test_it_writes_what_it_says(tmp_path: Path) -> None:
    done = zoo("my_net", "--dir", str(tmp_path), "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    folder = tmp_path / "zoo-my-net"
    assert told["folder"] == str(folder)
    assert sorted(told["files"]) == sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
    assert {
        "pyproject.toml", "README.md", ".gitignore", ".github/workflows/tests.yml", "tests/test_contract.py",
        "src/zoo_my_net/__init__.py", "src/zoo_my_net/config.py", "src/zoo_my_net/model.py", "src/zoo_my_net/hf.py",
        "src/zoo_my_net/conf/__init__.py", "src/zoo_my_net/conf/model/my_net-tiny.yaml",
    } == set(told["files"])  # fmt: skip
    assert [f.name for f in tmp_path.iterdir()] == ["zoo-my-net"]


def test_every_word_is_replaced_and_every_module_parses() -> None:
    for path, text in rendered(words_for("my_net")).items():
        assert not re.search(r"\{\{\w", text), path
        if path.endswith(".py"):
            ast.parse(text, path)


def test_the_requirement_on_zoo_holds_for_this_version_and_not_for_the_next() -> None:
    from packaging.requirements import Requirement
    from packaging.version import Version

    project = tomllib.loads(rendered(words_for("mine"))["pyproject.toml"])["project"]
    (needs,) = [r for r in map(Requirement, project["dependencies"]) if r.name == "zoo-lm"]
    this = Version(__version__)
    assert needs.specifier.contains(this)
    breaking = f"{this.major}.{this.minor + 1}" if this.major == 0 else f"{this.major + 1}.0"
    assert not needs.specifier.contains(breaking)
    assert project["entry-points"] == {"zoo": {"mine": "zoo_mine"}}
    assert project["license"]


def test_what_is_written_is_formatted_and_lints(tmp_path: Path) -> None:
    zoo("mine", "--dir", str(tmp_path))
    for words in (["format", "--check"], ["check", "--extend-select", "I,UP,B,D1", "--ignore", "D100,D103,D104,D107"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", "zoo-mine"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Net", ["cannot be the name of a family", "lower-case letters", "try my_net"]),
        ("3d", ["cannot be the name of a family"]),
        ("", ["cannot be the name of a family"]),
        ("a/../b", ["cannot be the name of a family", "try a_b"]),
        ("lambda", ["a Python keyword", "try lambda_model"]),
        ("llama", ["the family name 'llama' is taken by zoo-lm"]),
        ("qwen2_vl", ["the family name 'qwen2_vl' is taken by zoo-lm"]),
        ("lm", ["zoo-lm is zoo's own distribution"]),
    ],
)
def test_a_name_that_cannot_be_is_wrong_use(name: str, words: list[str], tmp_path: Path) -> None:
    done = zoo(name, "--dir", str(tmp_path))
    assert done.exit_code == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert not list(tmp_path.iterdir())


def test_an_installed_package_is_not_shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.errors import UsageError

    (tmp_path / "zoo_taken.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="'zoo_taken' is installed already"):
        check_name("taken")


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_nothing_is_written_over(there: str, tmp_path: Path) -> None:
    target = tmp_path / "zoo-mine"
    {
        "folder": target.mkdir,
        "file": lambda: target.write_text("kept"),
        "link": lambda: target.symlink_to("nowhere"),
    }[there]()
    done = zoo("mine", "--dir", str(tmp_path))
    assert done.exit_code == 1
    assert "never overwrites anything" in done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["zoo-mine"]


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    done = zoo("mine", "--dir", str(tmp_path / "absent"))
    assert done.exit_code == 1
    assert "absent is not a folder" in done.stderr


@pytest.mark.long
@pytest.mark.slow
def test_its_readme_holds_from_an_empty_folder_to_a_wheel_in_a_second_environment(tmp_path: Path) -> None:
    """Every command of the README, word for word, but that nothing is fetched: see `run`."""
    pytest.importorskip("hatchling", reason="the build backend of plugins is in the dev extra")
    assert zoo("my_net", "--dir", str(tmp_path)).exit_code == 0
    folder = tmp_path / "zoo-my-net"
    environment(tmp_path / "first")
    commands = re.findall(r"^\$ (.*)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = {command: run(command, folder, tmp_path / "first") for command in commands}
    assert "my_net-tiny" in told["zoo list my_net"]
    assert "1 of " in told["zoo list my_net"]
    assert re.search(r"my_net · 3 layers · \d", told["zoo build model=my_net-tiny model.num_layers=3 device=cpu"])
    assert " 0 failed" not in told["zoo check-plugin my_net"]
    assert re.search(r"\d\d ok, \d skipped\. Publish: ", told["zoo check-plugin my_net"])
    assert re.search(r"\d\d passed, \d skipped", told["python -m pytest"])
    wheel = next((folder / "dist").glob("*.whl"))
    assert wheel.name == "zoo_my_net-0.1.0-py3-none-any.whl"
    # The second environment has the wheel and not the folder: its source is moved away first.
    assert "my_net-tiny" in told["fresh/bin/zoo list my_net"]
    assert "my_net · 2 layers" in told["fresh/bin/zoo build model=my_net-tiny"]
    assert re.search(r"\d\d ok, \d skipped", told["fresh/bin/zoo check-plugin zoo-my-net"])


OTHERWISE = {"python -m build": "python -m build --no-isolation", "python -m pytest": "prepared-pytest"}


def run(command: str, folder: Path, home: Path) -> str:
    """What a command of the README prints, run in `folder` with the environment at `home` active.

    Tests reach no network: pip is told to build with the backend that is installed and to ask no index, and an
    environment that the README makes is shown what this one has, where pip would fetch zoo-lm and torch. Its pytest
    begins with torch imported, as its zoo does.
    """
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ZOO_", "PYTEST_", "COV_", "PYTHONPATH"))}
    path = os.pathsep.join((str(home / "bin"), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-c", OTHERWISE.get(command, command)],
        cwd=folder,
        env=kept
        | offline
        | {"PATH": path, "VIRTUAL_ENV": str(home), "OMP_NUM_THREADS": "1"}
        | {prepared.SOCKET: prepared.listening(reference=HAS_REFERENCE), prepared.PYTHON: sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    if command.startswith("python -m venv "):
        (folder / "src").rename(folder / "moved")
        show_parent(folder / shlex.split(command)[-1])
    return done.stdout + done.stderr


def environment(home: Path) -> None:
    """An environment of its own that sees what is installed in this one."""
    venv.create(home, with_pip=False, symlinks=True)
    show_parent(home)


def show_parent(home: Path) -> None:
    """Let the packages of this environment be found after those of the one at `home`, and put `zoo` and a pytest there.

    They begin with torch imported, see the packages at `home`, and start its Python where they need one.
    """
    (packages,) = home.glob("lib/python*/site-packages")
    for old in packages.glob("setuptools*"):  # that of Python 3.11 is older than torch wants, and would hide this one's
        shutil.rmtree(old)
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    (packages / "parent.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in folders))
    here = f"import site, sys; sys.executable = {str(home / 'bin' / 'python')!r}; site.addsitedir({str(packages)!r}); "
    prepared.program(home / "bin", before=here, reference=HAS_REFERENCE)
    code = prepared.MODULE.format(name="pytest")
    prepared.program(home / "bin", "prepared-pytest", before=here, code=code, reference=HAS_REFERENCE)
