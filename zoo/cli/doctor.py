"""`zoo doctor`: the environment, the plugins and the caches, to read or to paste into a report. Connects to nothing."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import click

from zoo.cli import hub_cache, output
from zoo.cli.completion import FILES
from zoo.cli.plugins import to_dict
from zoo.hub.folder import cache_folder, is_offline
from zoo.presets import list_models
from zoo.registry import DISTRIBUTION, installed
from zoo.units import human_bytes
from zoo.version import __version__

EPILOG = """\b
Examples:
  zoo doctor
  zoo doctor --json
  zoo -p no:llama doctor
"""

PACKAGES = ("torch", "hydra-core", "omegaconf", "safetensors", "huggingface-hub", "tokenizers", "transformers")
STARTED = {"bash": (".bashrc", ".bash_profile"), "zsh": (".zshrc",), "fish": (".config/fish/config.fish",)}


@click.command(epilog=EPILOG)
@click.option("--json", "is_json", is_flag=True, help="Everything as JSON, to paste into a report.")
def command(is_json: bool) -> None:
    """Show what zoo runs on, and what is wrong with it. Reads only local files."""
    found = examine()
    if is_json:
        output.as_json(found)
    else:
        output.fields(in_words(found))


def examine() -> dict[str, Any]:
    """Everything that is worth knowing, as JSON values."""
    registry = installed()
    registry.try_out()
    return {
        "zoo": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "plugins": [to_dict(plugin) for plugin in registry.plugins],
        "preset_clashes": [
            {"preset": kept.name, "kept": kept.plugin, "hidden": hidden.plugin}
            for kept, hidden in registry.preset_clashes()
        ],
        "broken_presets": [
            {"preset": r.name, "package": r.plugin, "problem": r.problem} for r in list_models() if r.problem
        ],
        "hub": {
            "folder": str(cache_folder()),
            "offline": is_offline(),
            "models": {model.repo: model.nbytes for model in hub_cache.models()},
        },
        "extras": _extras(),
        "completion": [shell for shell in FILES if _completes(shell)],
    }


def in_words(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The findings, a label and a line each; what is wrong comes last."""
    packages = " · ".join(f"{name} {number}" for name, number in found["packages"].items())
    memory = f", {human_bytes(found['memory_bytes'])}" if found["memory_bytes"] else ""
    hub, models = found["hub"], found["hub"]["models"]
    cached = f"{len(models)} models, {human_bytes(sum(models.values()))}" if models else "nothing"
    network = "offline (HF_HUB_OFFLINE=1)" if hub["offline"] else "network not tested"
    shells = ", ".join(found["completion"])
    lines = [
        ("zoo-lm", f"{found['zoo']} · Python {found['python']} · {found['cores']} cores{memory}"),
        ("packages", packages),
        ("plugins", _plugins_in_words(found["plugins"])),
        ("hub", f"{network} · cached: {cached} in {hub['folder']}"),
        ("extras", " · ".join(_extra_in_words(name, need) for name, need in found["extras"].items())),
        ("completion", shells or "not installed   zoo completion bash --install"),
    ]
    lines += [
        ("clash", f"{c['preset']} of {c['hidden']} is hidden by the one of {c['kept']}")
        for c in found["preset_clashes"]
    ]
    lines += [("broken", f"{b['preset']} of {b['package']}: {b['problem']}") for b in found["broken_presets"]]
    return [*lines, ("paste with", "zoo doctor --json")]


def _plugins_in_words(plugins: list[dict[str, Any]]) -> str:
    names: dict[str, list[str]] = {}
    for plugin in plugins:
        names.setdefault(plugin["state"], []).append(plugin["name"])
    told = [
        f"{len(found)} {state}" + ("" if state in ("built in", "loaded") else f" ({', '.join(found)})")
        for state, found in names.items()
    ]
    return f"{', '.join(told)}   zoo plugins"


def _extra_in_words(name: str, missing: list[str]) -> str:
    return f"{name} no   pip install 'zoo-lm[{name}]'" if missing else f"{name} yes"


def _extras() -> dict[str, list[str]]:
    """Each extra that users install, and which of its packages are not installed."""
    from packaging.requirements import Requirement

    try:
        requires = [Requirement(line) for line in distribution(DISTRIBUTION).requires or []]
    except PackageNotFoundError:  # run from a source tree that was never installed
        return {}
    missing: dict[str, list[str]] = {}
    for need in requires:
        for extra in _extra_names():
            if need.marker and not need.marker.evaluate({"extra": ""}) and need.marker.evaluate({"extra": extra}):
                found = _version(need.name)
                has_it = found and need.specifier.contains(found, prereleases=True)
                missing.setdefault(extra, []).extend([] if has_it else [need.name])
    return missing


@cache
def _extra_names() -> tuple[str, ...]:
    names = distribution(DISTRIBUTION).metadata.get_all("Provides-Extra") or []
    return tuple(name for name in names if name not in ("dev", "all", "real", "docs"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _memory() -> int | None:
    """Bytes of main memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _completes(shell: str) -> bool:
    """Whether zoo's script is where `zoo completion --install` puts it, or the shell's own start asks for it."""
    home = Path.home()
    if (home / FILES[shell][0]).is_file():
        return True
    return any(b"zoo completion" in _content(home / name) for name in STARTED[shell])


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
