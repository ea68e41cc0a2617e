"""What the files of our own presets hold, parsed before: reading YAML takes longer than all else that `zoo show` does.

A line of conf/values.jsonl is one file, with the size and the checksum of the text that it was parsed from. A file that
is another by now is parsed as it is; tools/index_presets.py writes the lines anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any
from zlib import crc32

from zoo.files.resources import files
from zoo.registry import OURS, Preset

VALUES = "values.jsonl"


def parsed(preset: Preset, data: bytes) -> dict[str, Any] | None:
    """What a file of ours holds, whose bytes are `data`; None where it has to be parsed."""
    lines, head = _lines(), _head(preset, data)
    if preset.package != OURS or (begin := lines.find(b"\n" + head)) < 0:
        return None
    begin += 1 + len(head)
    found: dict[str, Any] = json.loads(lines[begin : lines.index(b"\n", begin) - 1])
    return found


def make_values(presets: Iterable[Preset]) -> str:
    """The lines of our own among some presets and options."""
    from zoo.presets.plain_yaml import load

    lines = [""]
    for preset in presets:
        if preset.package == OURS:
            data = preset.data()
            lines.append(f"{_head(preset, data).decode()}{json.dumps(load(data, preset.file), allow_nan=False)}}}")
    return "\n".join([*lines, ""])


def _head(preset: Preset, data: bytes) -> bytes:
    """How the line of a file with these bytes begins."""
    name = json.dumps(f"{preset.group}/{preset.name}")
    return f'{{"file": {name}, "size": {len(data)}, "crc32": {crc32(data)}, "values": '.encode()


@cache
def _lines() -> bytes:
    try:
        return (files(OURS) / VALUES).read_bytes()
    except OSError:
        return b""
