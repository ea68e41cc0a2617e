"""What the next step of a run depends on beside the model's own files: taken from a trainee, and put back into one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.adapters.peft_library import is_adapted
from zoo.checkpoint.saving import dtype_name
from zoo.errors import CheckpointError, clean
from zoo.files.safetensors_writer import SafetensorsWriter
from zoo.training.loop import Trainee, wide

STATE, STATES = "optimizer.safetensors", "optimizer.dcp"  # of one process, and the folder of several ranks
KINDS = ("optimizer", "weight", "mean", "best", "extra", "random")


def state_of(trainee: Trainee) -> dict[str, Tensor]:
    """All tensors that the next step depends on and the model's own files do not hold."""
    names = {id(p): name for name, p in trainee.named_parameters()}
    own = "" if trainee.division is None else f"/{trainee.division.rank}"
    found: dict[str, Tensor] = {f"random/cpu{own}": torch.get_rng_state()}
    if torch.cuda.is_available():
        found[f"random/cuda{own}"] = torch.cuda.get_rng_state()
    for parameter, state in trainee.optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                found[f"optimizer/{key}/{names[id(parameter)]}"] = value
    if trainee.kept() or is_adapted(trainee.model):  # what learns is then not, or not to the bit, in the model's files
        learning = ((name, p) for name, p in trainee.named_parameters() if p.requires_grad)
        found |= {f"weight/{name}": p.detach() for name, p in learning}
    for kind, tensors in (("mean", trainee.mean), ("best", trainee.best), ("extra", trainee.extra_state())):
        found |= {f"{kind}/{name}": value for name, value in (tensors or {}).items()}
    return found


def restore(trainee: Trainee, folder: Path, facts: Mapping[str, Any]) -> None:
    """Put a trainee, whose model has the folder's weights, where the run stopped.

    Raises CheckpointError for a state that is not whole, or holds more than such a run has.
    """
    found, file = _found(trainee, folder)
    kinds: dict[str, dict[str, Tensor]] = {kind: {} for kind in KINDS}
    for path, value in found.items():
        kind, _, name = path.partition("/")
        if kind not in kinds:
            raise CheckpointError(file, path, "is nothing that a run holds")
        kinds[kind][name] = value
    _restore_optimizer(trainee, kinds["optimizer"], file)
    learning = {name: p for name, p in trainee.named_parameters() if p.requires_grad}
    for kind in ("weight", "mean", "best"):
        _check(kinds[kind], learning, file, kind)
    _check(kinds["extra"], trainee.extra_state(), file, "extra")
    if (count := sum(len(kinds[kind]) for kind in KINDS[:-1])) != facts.get("tensors", count):
        raise CheckpointError(file, "", f"{count} tensors, and the run wrote {facts['tensors']}")
    with torch.no_grad():
        trainee.load_extra(kinds["extra"])
        for name, value in kinds["weight"].items():
            learning[name].copy_(value)
    device = next(trainee.model.parameters()).device
    trainee.best = {name: value.to(device) for name, value in kinds["best"].items()} or None
    trainee.mean = wide({name: value.to(device) for name, value in kinds["mean"].items()}) or None
    _restore_random(kinds["random"], facts)


def write_state(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write the file of one process."""
    writer = SafetensorsWriter(path, {name: (dtype_name(t), tuple(t.shape)) for name, t in tensors.items()})
    try:
        for name, tensor in tensors.items():
            writer.write(name, tensor.detach().cpu().contiguous())
        writer.finish()
    finally:
        writer.close()


def _found(trainee: Trainee, folder: Path) -> tuple[dict[str, Tensor], Path]:
    """The tensors as this process holds them, whichever layout wrote them, and where they stand."""
    places: dict[str, Tensor] = dict(trainee.named_parameters())
    rank = 0 if trainee.division is None else trainee.division.rank

    def like(path: str) -> nn.Parameter | Tensor | None:
        kind, _, name = path.partition("/")
        return places.get(name.partition("/")[2] if kind == "optimizer" else name)

    if not (folder / STATES).is_dir():
        found = _loaded(folder / STATE)
        if trainee.division is None:
            return found, folder / STATE
        from zoo.training.ranks.states import own_part

        cut = {path: value if (of := like(path)) is None else own_part(value, of) for path, value in found.items()}
        return cut, folder / STATE
    from zoo.training.ranks.states import read_states

    def wanted(path: str, shape: torch.Size, dtype: torch.dtype) -> Tensor | None:
        if path.startswith("random/") and path.rpartition("/")[2] != str(rank):
            return None
        of = like(path) if shape else None
        return torch.zeros(shape, dtype=dtype) if of is None else torch.zeros_like(of, dtype=dtype).detach()

    read = read_states(folder / STATES, wanted)
    return {p.removesuffix(f"/{rank}") if p.startswith("random/") else p: t for p, t in read.items()}, folder / STATES


def _loaded(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(file, "", f"cannot be read: {clean(error, 120)}") from None


def _restore_optimizer(trainee: Trainee, tensors: Mapping[str, Tensor], file: Path) -> None:
    optimizer, names = trainee.optimizer, {id(p): name for name, p in trainee.named_parameters()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = {names[id(p)]: number for number, p in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        key, _, name = path.partition("/")
        if name not in numbers:
            raise CheckpointError(file, f"optimizer/{path}", "is of a parameter that does not learn")
        state.setdefault(numbers[name], {})[key] = value
    for number, held in state.items():
        if held.keys() != next(iter(state.values())).keys():
            raise CheckpointError(file, "", "tensors of the optimizer are missing, or too many")
        for key, value in held.items():
            if value.ndim and value.shape != parameters[number].shape:
                what = f"{list(value.shape)} beside a parameter of {list(parameters[number].shape)}"
                raise CheckpointError(file, key, what)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _check(tensors: Mapping[str, Tensor], places: Mapping[str, Tensor], file: Path, kind: str) -> None:
    """Refuse tensors for which there is no place, those of another shape, and some without the others."""
    for name, value in tensors.items():
        if name not in places:
            raise CheckpointError(file, f"{kind}/{name}", "is of a parameter that does not learn")
        if value.shape != places[name].shape:
            what = f"{list(value.shape)} beside a parameter of {list(places[name].shape)}"
            raise CheckpointError(file, f"{kind}/{name}", what)
    if tensors and (missing := [name for name in places if name not in tensors]):
        raise CheckpointError(file, f"{kind}/{missing[0]}", "is missing")


def _restore_random(found: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    if "cpu" in found:  # a rank more than there were has none
        torch.set_rng_state(found["cpu"])
    if "cuda" in found and torch.cuda.is_available():
        torch.cuda.set_rng_state(found["cuda"])
    version, numbers, gauss = facts["random"]
    random.setstate((version, tuple(numbers), gauss))
