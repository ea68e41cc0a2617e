"""A function of the user's, named on the command line: MODULE:FUNCTION, or FILE.py:FUNCTION."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, clean


def named_function(name: str, key: str) -> Callable[..., Any]:
    """The function that `key` names. Raises UsageError, with the reason, where there is none; its code runs."""
    where, colon, function = name.rpartition(":")
    if not colon or not where or not function.isidentifier():
        raise UsageError(f"{key}={clean(name)!r} names no function", hint=f"type: {key}=FILE.py:FUNCTION")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:  # a stranger's code: whatever it raises is why it cannot be used
        raise UsageError(f"{key}: {clean(where, 200)} cannot be imported: {clean(error, 200)}") from None
    found = getattr(module, function, None)
    if not callable(found):
        raise UsageError(f"{key}: {clean(where, 200)} has no function {function!r}")
    return found


def _from_file(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"zoo_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
