"""What a folder is that is no checkpoint as it stands, and the next thing to type. Nothing is guessed in silence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import CheckpointError, ZooError, clean, nearest, some
from zoo.files.dcp.metadata import METADATA
from zoo.files.json_file import read_json
from zoo.files.shards import INDEX, PICKLE, PICKLE_INDEX, SINGLE

ADAPTER = "adapter_config.json"
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
_STEP = re.compile(r"(?:checkpoint|step|global_step|epoch)[-_=]?(\d+)")
_PART = re.compile(r"-\d+-of-\d+\.")
# What trainers write beside weights, adapters, and parts in Meta's format.
_OTHER = re.compile(
    r"(?:.*[._-])?(?:training_args|optim|optimizer|scheduler|scaler|rng_state|random_states|adapter|trainer|sampler)"
    r"(?:[._-]|$)|consolidated\."
)
MOST = 1000  # folders that are looked into


def odd_weights(names: Iterable[str]) -> list[str]:
    """Files beside a config.json that may be its weights under a name of their own; none where parts lie there too.

    A pickle is none beside a safetensors file of the same name.
    """
    found = sorted(n for n in names if n.endswith(WEIGHTS) and not _OTHER.match(n))
    if any(_PART.search(name) for name in found):
        return []
    safe = {name.removesuffix(WEIGHTS[0]) for name in found if name.endswith(WEIGHTS[0])}
    return [name for name in found if name.endswith(WEIGHTS[0]) or name.rpartition(".")[0] not in safe]


def several(folder: Path, names: list[str]) -> CheckpointError:
    """The error about files of which each may be the weights."""
    what = f"has {len(names)} files that may be its weights: {clean(some(names, 6), 300)}"
    return CheckpointError(folder, "", what, hint=f"name the one that you want: {_typed(folder / names[0])}")


def no_checkpoint(folder: Path, names: set[str], what: str, *, why: str) -> CheckpointError:
    """The error about a folder without a checkpoint: an adapter, or a place where checkpoints lie below."""
    if ADAPTER in names:
        return _adapter(folder)
    if below := _below(folder, names):
        listed = some([*map(clean, below)], 6)
        lies = "a checkpoint lies" if len(below) == 1 else f"{len(below)} checkpoints lie"
        which = "it is" if len(below) == 1 else "the newest is" if _STEP.fullmatch(below[-1]) else "one is"
        return CheckpointError(
            folder, "", what, why=f"{lies} below: {listed}", hint=f"{which}: {_typed(folder / below[-1])}"
        )
    return CheckpointError(folder, "", what, why=why)


def absent(path: Path) -> CheckpointError:
    """The error about a path that does not exist, with what is like it in a folder that does."""
    folder = next((parent for parent in path.parents if parent.is_dir()), None)
    if folder is None:
        return CheckpointError(path, "", "is not there")
    first = folder / path.relative_to(folder).parts[0]  # the first part of it that does not exist
    where = "" if first == path else f": there is no {clean(first, 200)}"
    return CheckpointError(path, "", f"is not there{where}", hint=_meant(folder, near_names(first)))


def near_names(path: Path) -> list[str]:
    """Names in the folder of `path` that its own may be a misspelling of."""
    try:
        names = [entry.name for entry in path.parent.iterdir()][:MOST]
    except OSError:
        return []
    return nearest(path.name, names)


def beside(weights: Path, names: set[str]) -> tuple[str, ...]:
    """What is to be told of a folder whose `weights` were found by their ending, or lie beside an adapter."""
    usual = weights.name in (SINGLE, INDEX, PICKLE, PICKLE_INDEX)
    odd = () if usual else (f"the weights are {weights.name}, the only file that may be them",)
    if ADAPTER not in names:
        return odd
    return (*odd, f"{ADAPTER} lies in the folder too: zoo reads the model and leaves the adapter out")


def _adapter(folder: Path) -> CheckpointError:
    try:
        told = read_json(folder / ADAPTER)
    except ZooError:
        told = {}
    kind, base, rank = told.get("peft_type"), told.get("base_model_name_or_path"), told.get("r")
    words = f"a {clean(kind)} adapter" if isinstance(kind, str) else "an adapter"
    rank_told = f" of rank {rank}" if type(rank) is int else ""
    of = f" to {clean(base)}" if isinstance(base, str) and base else ""
    why = "an adapter holds what to add to its base, and is not a model without it"
    base = clean(base) if isinstance(base, str) and base else "BASE"
    hint = f"zoo generate {base} --adapter {_typed(folder)}, or merge the two: zoo convert {base} OUT --adapter ..."
    return CheckpointError(folder, "", f"is {words}{rank_told}{of}", why=why, hint=hint)


def _below(folder: Path, names: set[str]) -> list[str]:
    """The folders in `folder` that look like checkpoints, the newest of a training last."""
    found = []
    for name in sorted(names)[:MOST]:
        inner = folder / name
        if inner.is_dir() and any(
            (inner / known).is_file() for known in ("config.json", "params.json", ADAPTER, METADATA)
        ):
            found.append(name)
    return sorted(found, key=lambda name: (step := _STEP.fullmatch(name)) is not None and int(step[1]) + 1)


def _meant(folder: Path | None, names: list[str]) -> str:
    return f"did you mean: {', '.join(_typed(folder / name) for name in names)}?" if folder and names else ""


def _typed(path: Path) -> str:
    return shlex.quote(clean(path, 400))


def present(names: set[str]) -> str:
    """The files of a folder that have to do with weights, as a sentence; nothing where there are none."""
    endings = (".safetensors", ".bin", ".pth", ".pt", ".gguf", ".h5", ".msgpack", ".onnx", ".json")
    found = sorted(name for name in names if name.endswith(endings))
    return f"it has {some(found, most=6)}" if found else ""
