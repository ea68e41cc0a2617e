"""What a run of an adapter knows of the weights that it stands beside, which its folder does not hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.adapters.peft_library import plain_name
from zoo.errors import UsageError
from zoo.training.lora import LoraSettings
from zoo.training.settings import Recipe

SEEN = 4096  # numbers of a tensor that its fingerprint reads, spread over all of it


def base_fingerprint(model: nn.Module) -> str:
    """Tells whether two runs stand beside the same weights, packed ones too, whatever adapter is there already."""
    found = hashlib.sha256()
    tensors = {plain_name(name): value for name, value in model.state_dict().items() if ".lora_" not in name}
    for name, value in sorted(tensors.items()):
        seen = value.detach().flatten()[:: max(value.numel() // SEEN, 1)].cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(seen.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def check_beside(folder: object, recipe: Recipe, facts: Mapping[str, Any]) -> None:
    """Raise UsageError where a run is to go on with another adapter than it began with, or with one where none was."""
    begun = LoraSettings(**facts["recipe"].get("lora", {}))
    if begun != recipe.lora:
        what = f"{folder} was begun with {_words(begun)}, not {_words(recipe.lora)}"
        raise UsageError(what, hint="leave lora.* out to go on with it, or begin a run in another folder")


def check_base(folder: object, source: str | None, facts: Mapping[str, Any], now: str | None) -> None:
    """Raise UsageError where the weights that the adapter stands beside are others by now."""
    if facts.get("base") != now:
        what = f"{folder} was begun beside other weights than those of {source}"
        raise UsageError(what, hint="name the checkpoint, dtype and quantize that it began with")


@contextmanager
def showing(model: nn.Module, kept: Mapping[str, Tensor]) -> Iterator[None]:
    """For as long as this lasts the model has the weights that are kept beside its own."""
    own = {name: p.data for name, p in model.named_parameters() if name in kept}
    for name, parameter in model.named_parameters():
        if name in kept:
            parameter.data = kept[name]
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            if name in own:
                parameter.data = own[name]


def _words(lora: LoraSettings) -> str:
    if lora.rank is None:
        return "no adapter"
    told = {"rank": lora.rank, "alpha": lora.alpha, "targets": lora.targets, "dropout": lora.dropout}
    return f"{lora.kind} " + " ".join(f"{name}={value}" for name, value in told.items() if value not in (None, 0.0))
