"""Real installed distributions for tests: a folder on the path with packages and their .dist-info."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent

from tests.prepared import ZOO, run

NEEDS_TORCH = {"bench", "build", "check-plugin", "convert", "eval", "generate", "verify"}
PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"

FAMILY = """
    from zoo import Family, hookimpl

    @hookimpl
    def zoo_families():
        return [Family(name="{family}", config="{package}.config:Config", model="{package}.model:Model")]

    @hookimpl
    def zoo_config_packages():
        return ["{package}.conf"]
"""

CONFIG = """
    from dataclasses import dataclass
    from zoo import ModelConfig

    @dataclass
    class Config(ModelConfig):
        family: str = "{family}"
        hidden_size: int = 8
        num_layers: int = 2
        max_seq_len: int = 128
"""


def install(
    site: Path,
    name: str,
    plugins: Mapping[str, str],
    files: Mapping[str, str],
    *,
    version: str = "1.0",
    requires: Iterable[str] = (),
) -> None:
    """Put a distribution into `site`: `plugins` are its entry points of the group zoo, `files` its contents."""
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(dedent(text), encoding="utf-8")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    points = "".join(f"{point} = {target}\n" for point, target in plugins.items())
    (info / "entry_points.txt").write_text(f"[zoo]\n{points}")


def good_plugin(package: str, family: str, presets: Mapping[str, str] | None = None) -> dict[str, str]:
    """The files of a package with one family that describes no anatomy, and presets by name."""
    if presets is None:
        presets = {family: f"# {family.title()} (a test)\ndefaults:\n  - /schema/{family}@_here_\n  - _self_\n"}
    return {
        f"{package}/__init__.py": FAMILY.format(package=package, family=family),
        f"{package}/config.py": CONFIG.format(family=family),
        f"{package}/model.py": "import torch\n\nclass Model(torch.nn.Module): ...\n",
        f"{package}/conf/__init__.py": "",
        **{f"{package}/conf/model/{name}.yaml": text for name, text in presets.items()},
    }


def zoo(*words: str, site: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `zoo` with `words` in a child that sees the distributions in `site`."""
    start = prepared if NEEDS_TORCH.intersection(words) else python
    return start(ZOO, *words, site=site, **environment)


def prepared(
    code: str,
    *words: str,
    site: Path | None = None,
    timeout: float = 60,
    reference: bool = False,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """As `python` below, with torch imported already, and transformers for a `reference`.

    Where the environment says how Python itself starts, it is started.
    """
    if any(name.startswith("PYTHON") for name in environment):
        return python(code, *words, site=site, timeout=timeout, **environment)
    return run(code, words, _environment(site) | environment, timeout=timeout, reference=reference)


def installed_from(source: Path, site: Path) -> Path:
    """Build the distribution of a folder and install it into `site`, without a network."""
    words = "-m pip install -q --no-deps --no-index --no-build-isolation --target".split()
    done = subprocess.run([sys.executable, *words, str(site), str(source)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return site


def python(
    code: str, *words: str, site: Path | None = None, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a child that sees the distributions in `site`."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=_environment(site) | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _environment(site: Path | None) -> dict[str, str]:
    path = [str(site)] * (site is not None) + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ZOO_", "COV_"))}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
