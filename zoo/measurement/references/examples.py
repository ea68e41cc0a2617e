"""Prompts and references, read line by line from a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, clean

SHAPE = '{"prompt": "text", "reference": "text"}, or "references": ["text", …]'


@dataclass(frozen=True)
class Example:
    """What a model is to continue, or an encoder-decoder to answer, and what it should say."""

    prompt: str
    references: list[str]


def read_examples(file: str | Path) -> list[Example]:
    """The examples of a file of JSON lines; blank lines are passed over. Raises UsageError, with the line, else."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8", hint="save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint="--references takes a file of JSON lines") from None
    lines = text.split("\n")  # not splitlines: JSON may hold other line breaks as they are
    examples = [_example(line, f"{file}: line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not examples:
        raise UsageError(f"{file} holds no example", hint=f"one a line: {SHAPE}")
    return examples


def _example(line: str, where: str) -> Example:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", "it is nested too deep")
        raise UsageError(f"{where} is not JSON: {why}", hint=f"one a line: {SHAPE}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{where} is not an object: {clean(repr(found))}", hint=f"one a line: {SHAPE}")
    given = [key for key in ("reference", "references") if key in found]
    if len(given) != 1:
        what = "both reference and references" if given else "neither reference nor references"
        raise UsageError(f"{where} has {what}", hint=f"one a line: {SHAPE}")
    references = [found["reference"]] if given == ["reference"] else found["references"]
    prompt = found.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise UsageError(f"{where}: prompt is {_told(prompt)}, not a text", hint=f"one a line: {SHAPE}")
    if not isinstance(references, list) or not references:
        raise UsageError(f"{where}: references is {_told(references)}, not a list of texts", hint=SHAPE)
    if wrong := [text for text in references if not isinstance(text, str) or not text.strip()]:
        raise UsageError(f"{where}: {given[0]} is {_told(wrong[0])}, not a text", hint=f"one a line: {SHAPE}")
    return Example(prompt, references)


def _told(value: object) -> str:
    if value is None:
        return "missing"
    return (
        "empty"
        if isinstance(value, str | list) and not (value.strip() if isinstance(value, str) else value)
        else (clean(repr(value)))
    )
