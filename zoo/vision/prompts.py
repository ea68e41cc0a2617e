"""A prompt with pictures in it: what a family makes of the pictures, and the text in which they have their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import CheckpointError, UsageError
from zoo.files.json_file import read_json
from zoo.vision.processing import Processing

Spell = Callable[[int], str]  # a token's id -> how the vocabulary spells it


@dataclass(frozen=True)
class Pictures:
    """Pictures as a family takes them: their places in a text, and the numbers that go with it.

    A family that reads pictures has a function (config, pictures, settings, spell) that gives this record; its name
    stands in `Family.pictures`. `settings` is the file beside the weights that says how pictures become pixels, None
    where there is none; `spell` turns the id of a token into its text.
    """

    marker: str  # what stands in a prompt for a picture, as the chat templates of the family write it
    spans: list[str]  # per picture what takes the marker's place: the tokens that the model reads it through
    leads: list[str]  # per picture what stands before a prompt that has no markers; contains the marker
    inputs: dict[str, Tensor]  # further arguments of the model's first pass
    words: tuple[str, ...] = ()  # in spans, what the vocabulary must have as a token though no id is known of it


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The inputs of several prompts as those of one batch: pictures in a row, those of few patches padded."""
    found = {}
    for name in parts[0] if parts else ():
        tensors = [part[name] for part in parts]
        if len({tensor.shape[1:] for tensor in tensors}) > 1:  # patches [I, S, R], whose `shapes` tell the padding
            most = max(tensor.shape[1] for tensor in tensors)
            tensors = [F.pad(tensor, (0, 0, 0, most - tensor.shape[1])) for tensor in tensors]
        found[name] = torch.cat(tensors)
    return found


def settings_of(folder: Path) -> Mapping[str, Any] | None:
    """How pictures become pixels: from the group in processor_config.json, where transformers 5 looks first and writes
    it, else from preprocessor_config.json."""
    if (inner := processor_group(folder, "image_processor")) is not None:
        return inner
    return read_json(file) if (file := folder / "preprocessor_config.json").is_file() else None


def processor_group(folder: Path, name: str) -> Mapping[str, Any] | None:
    """A group of keys of processor_config.json; None where there is none. Raises CheckpointError for anything else."""
    if not (file := folder / "processor_config.json").is_file():
        return None
    inner = read_json(file).get(name)
    if inner is not None and not isinstance(inner, dict):
        raise CheckpointError(file, name, "is not a group of keys")
    return inner


def processing_of(settings: Mapping[str, Any] | None, default: Mapping[str, Any], **expected: int | None) -> Processing:
    """The processing that the file asks for, else the default; `expected` are the sizes that the model is made for."""
    how = Processing.of(default if settings is None else settings)
    for name, value in expected.items():
        if getattr(how, name) != value:
            what = f"{getattr(how, name)}, but the model is made for {value}"
            raise CheckpointError("the picture settings", name, what)
    return how


def with_leads(prompt: str, shown: Sequence[Pictures]) -> str:
    """The prompt with what is shown before it, unless it says itself where that belongs."""
    return "".join("" if things.marker in prompt else "".join(things.leads) for things in shown) + prompt


def as_messages(prompt: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """A turn of the user's that shows things of these kinds, image or video, and then says `prompt`."""
    return [{"role": "user", "content": [*({"type": kind} for kind in kinds), {"type": "text", "text": prompt}]}]


def filled(text: str, pictures: Pictures, what: str = "pictures") -> str:
    """The text with each marker made its picture's span, in order. Raises UsageError where they are not as many."""
    first, *rest = text.split(pictures.marker)
    if len(rest) != len(pictures.spans):
        raise UsageError(
            f"the prompt has {len(rest)} places for {what}, {len(pictures.spans)} are given",
            hint=f"write {pictures.marker} once for each {what.removesuffix('s')}, or not at all",
        )
    return first + "".join(span + part for span, part in zip(pictures.spans, rest, strict=True))
