"""Where the weights of a preset live."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import UnknownName, UsageError, clean
from zoo.presets.catalogue import config, in_the_box
from zoo.registry import installed


def home_of(source: str | Path) -> str | Path:
    """Where the weights of a preset live, if `source` is a preset's name and no path; else `source` itself."""
    if isinstance(source, Path) or "/" in source or Path(source).exists():
        return source
    presets = installed().presets()
    if source not in presets:
        if source.endswith((".gguf", ".safetensors", ".bin")):
            return source
        raise UnknownName(f"{clean(source)!r} is neither a folder, a file nor a preset", source, presets)
    if source in in_the_box():
        return f"pkg://zoo/box/{source}"
    if not (hub := config(source).hub):
        raise UsageError(
            f"the preset {source!r} does not say where its weights are", hint="give a folder or hf://org/name"
        )
    return hub
