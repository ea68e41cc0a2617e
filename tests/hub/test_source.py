from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.errors import CheckpointError, UsageError
from zoo.hub.source import Source, in_package, parse_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf://org/name", Source("hub", "org/name")),
        ("hf://org/name@v1", Source("hub", "org/name", "v1")),
        ("hf://org/name@v1/sub/x.gguf", Source("hub", "org/name", "v1", "sub/x.gguf")),
        ("hf://org/name@refs/pr/1", Source("hub", "org/name", "refs/pr/1")),
        ("org/name", Source("hub", "org/name", is_explicit=False)),
        ("org/na.me-1@v1", Source("hub", "org/na.me-1", "v1", is_explicit=False)),
        ("./org/name", Source("local", "./org/name")),
        ("/org/name", Source("local", "/org/name")),
        ("~/name", Source("local", "~/name")),
        ("name", Source("local", "name")),
        ("a/b/c", Source("local", "a/b/c")),
        ("x.gguf", Source("local", "x.gguf")),
        ("pkg://package/a/x.gguf", Source("package", "package", path="a/x.gguf")),
        ("pkg://package", Source("package", "package")),
        (Path("org/name"), Source("local", "org/name")),
    ],
)
def test_a_source_is_what_its_spelling_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | Path, source: Source
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_source(text) == source
    assert str(source) == str(text)


def test_a_path_that_exists_wins_over_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert parse_source("org/name").kind == "local"


@pytest.mark.parametrize("text", ["", "http://x/y", "s3://x/y", "pkg://", "pkg://../x", "pkg://a.b/c", "hf://", "a\0b"])
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_source(text)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose code must not run."""
    folder = tmp_path / "zoo_test_weights"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('it ran')")
    (folder / "model" / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to("../secret")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_files_and_folders_of_a_package_are_found_without_running_it(package: Path) -> None:
    assert in_package(parse_source("pkg://zoo_test_weights/model/x.gguf")) == package / "model" / "x.gguf"
    assert in_package(parse_source("pkg://zoo_test_weights/model")) == package / "model"
    assert in_package(parse_source("pkg://zoo_test_weights")) == package


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("zoo_test_weights/nothing", "has no file of that name"),
        ("zoo_test_weights/link", "is outside the package, through a link"),
        ("zoo_test_nothing/x", "no package zoo_test_nothing is installed"),
        ("sys/x", "has no file of that name"),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_a_package_does_not_have_is_refused(path: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        in_package(parse_source(f"pkg://{path}"))


@pytest.mark.parametrize("path", ["../secret", "model/../../secret", "/etc/passwd"])
@pytest.mark.usefixtures("package")
def test_a_path_may_not_leave_the_package(path: str) -> None:
    with pytest.raises(UsageError, match="is outside the package"):
        in_package(parse_source(f"pkg://zoo_test_weights/{path}"))


def test_local_sources_need_no_client_of_the_hub() -> None:
    code = "import sys; from zoo.hub.place import locate; locate('.'); assert 'huggingface_hub' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
