"""Which release of transformers wrote a config.json, and so which keys it could not write yet. Needs no torch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.weights.foreign.config import ForeignConfig

NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(\.?(?:dev|rc|a|b)\d*)?")


def younger(hf: ForeignConfig, **since: str) -> None:
    """Tell no default of keys that transformers got after it wrote this file: key=RELEASE, the first that has the key.

    A file that names no release is not known to be old, so what it lacks is told as ever.
    """
    written = release(hf.raw.get("transformers_version"))
    for name, first in since.items():
        if written is not None and written < (release(first) or ()):
            hf.assumed.pop(name, None)


def is_written(hf: ForeignConfig) -> bool:
    """Whether transformers wrote the file. It leaves out of a group what the group's class takes anyway."""
    return release(hf.raw.get("transformers_version")) is not None


def release(version: object) -> tuple[int, ...] | None:
    """The numbers of a version, one on the way to a release before the release: 4.33.0.dev0 before 4.33."""
    if not isinstance(version, str) or (found := NUMBERS.match(version)) is None:
        return None
    major, minor, patch, early = found.groups()
    return int(major), int(minor), int(patch or 0), 0 if early else 1
