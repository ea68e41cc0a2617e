"""The machine and the versions that numbers were measured with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "lm-eval")


def environment(device: str = "cpu") -> dict[str, Any]:
    """Processor, threads, versions and the commit of this zoo, as JSON values."""
    import torch

    from zoo.version import __version__

    told: dict[str, Any] = {
        "zoo": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.device(device).type == "cuda":
        told["gpu"] = torch.cuda.get_device_name(device)
    return told


def processor() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit that zoo was installed from, or stands at in a checkout (`-dirty` with changes); None: not known."""
    try:
        told = json.loads(distribution("zoo-lm").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        told = {}
    if found := told.get("vcs_info", {}).get("commit_id"):
        return str(found)
    root = Path(__file__).resolve().parents[2]
    return _described(root) if (root / ".git").exists() else None


def _described(root: Path) -> str | None:
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
