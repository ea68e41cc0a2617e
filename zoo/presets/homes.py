"""Where the weights of a preset live."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import CheckpointError, NetworkError, UnknownName, UsageError, WrongType, ZooWarning, clean
from zoo.presets.catalogue import config, in_the_box
from zoo.presets.hub_ids import with_preset
from zoo.registry import installed

if TYPE_CHECKING:
    from zoo.hub.place import Place


def located(source: str | Path, *, allow_pickle: bool = False) -> Place:
    """Where the checkpoint `source` is on this machine; hf:// is fetched. Raises NetworkError and as `home_of`."""
    from zoo.hub.place import locate

    home = home_of(source)
    try:
        return locate(home, allow_pickle=allow_pickle)
    except NetworkError as error:
        raise with_preset(error, home) from None


def home_of(source: str | Path) -> str | Path:
    """Where the weights of a preset live, if `source` is a preset's name and no path; else `source` itself."""
    if not isinstance(source, str | Path):
        raise WrongType("the source", source, "a name or a path of a checkpoint")
    if isinstance(source, Path) or "/" in source:
        return source
    presets = installed().presets()
    if Path(source).exists():
        if source in presets:
            _tell_hidden(source)
        return source
    if source not in presets:
        if source.endswith((".gguf", ".safetensors", ".bin")):
            return source
        from zoo.files.folders import near_names  # which knows all formats of files

        known = [*presets, *near_names(Path(source))]
        what = f"{clean(source)!r} is neither a folder, a file nor a preset{installed().not_loaded}"
        raise UnknownName(what, source, known)
    if not (home := _home(source)):
        raise UsageError(
            f"the preset {source!r} does not say where its weights are", hint="give a folder or hf://org/name"
        )
    return home


def _home(preset: str) -> str:
    return f"pkg://zoo/box/{preset}" if preset in in_the_box() else config(preset).hub


def _tell_hidden(name: str) -> None:
    """Say that a folder or file here has the name of a preset; raise where it cannot be what was meant."""
    path, home = Path(name), _home(name)
    other = f"the preset {name!r} is " + (f"{home if '://' in home else f'hf://{home}'}" if home else "without weights")
    if not _has_checkpoint(path):
        what = f"is a folder here, without a checkpoint, that hides the preset {name!r}"
        raise CheckpointError(name, "", what, hint=f"{other}; for the folder, name what is in it: ./{name}/...")
    what = f"{name} is what lies here under this name: ./{name}. {other[0].upper()}{other[1:]}"
    warnings.warn(what, ZooWarning, stacklevel=4)


def tell_preset(name: str) -> None:
    """Say that the preset of a name is taken, where a checkpoint lies here that has the name too."""
    if name in installed().presets() and Path(name).exists() and _has_checkpoint(Path(name)):
        warnings.warn(f"{name} is the preset here; the checkpoint that lies here is ./{name}", ZooWarning, stacklevel=3)


def _has_checkpoint(path: Path) -> bool:
    files = ("config.json", "params.json", "adapter_config.json")
    return not path.is_dir() or any((path / file).exists() for file in files) or any(path.glob("*.gguf"))
