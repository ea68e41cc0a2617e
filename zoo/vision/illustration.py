"""From a prompt, pictures and videos to what a model that sees is given: token ids, and what its first pass takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.protocols import device_of
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.text import Tokenizer
from zoo.vision import read_image
from zoo.vision.films import video_settings_of
from zoo.vision.prompts import Pictures, as_messages, filled, settings_of, with_leads

if TYPE_CHECKING:
    from PIL.Image import Image

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Illustrated:
    """A prompt for `generate(model, illustrated.tokens, inputs=illustrated.inputs)`."""

    tokens: list[int]
    inputs: dict[str, Tensor]  # further arguments of the model's first pass: pixels, ...


def illustrate(
    model: Any,
    prompt: str | Messages,
    images: Sequence[str | Path | Image] = (),
    *,
    videos: Sequence[str | Path] = (),
    tokenizer: Tokenizer,
    folder: str | Path | None = None,
) -> Illustrated:
    """A prompt with pictures and videos, as the family's own processors make it.

    A text that has markers, as the family's chat template writes them, is taken as it stands. Any other becomes a
    message after the pictures, and then the videos, where there is a chat template, and follows them directly where
    there is none. Messages are for the template to word, their content being lists of {"type": "image"},
    {"type": "video"} and {"type": "text", "text": ...}.
    `folder` holds the settings of pictures and videos (default: where the weights came from).
    Raises UsageError where pictures and places differ in number or the model reads none, CheckpointError for files
    that are no pictures or videos, MissingExtra without Pillow or PyAV.
    """
    family = installed()[model.config.family]
    if not images and not videos:
        raise UsageError("there are no pictures and no videos")
    if folder is None and (ledger := getattr(model, "ledger", None)) is not None:
        folder = ledger.checkpoint.folder
    place, shown = None if folder is None else Path(folder), {}

    def spell(index: int) -> str:
        return _spelt(tokenizer, index)

    if images:
        read = seeing(family).picture_reader
        opened = [read_image(image) if isinstance(image, str | Path) else image for image in images]
        shown["pictures"] = read(model.config, opened, place and settings_of(place), spell)
    if videos:
        read = watching(family).video_reader
        shown["videos"] = read(model.config, [*videos], place and video_settings_of(place), spell)
    kinds = ["image"] * len(images) + ["video"] * len(videos)
    text, is_worded = _worded(prompt, [*shown.values()], kinds, tokenizer)
    for what, things in shown.items():
        text = filled(text, things, what)
        _refuse_unknown(things.words, tokenizer)
    tokens = tokenizer.encode(text, add_special_tokens=not is_worded)
    inputs = {name: tensor.to(device_of(model)) for things in shown.values() for name, tensor in things.inputs.items()}
    return Illustrated(tokens, inputs)


def seeing(family: Family) -> Family:
    """The family, if its models read pictures. Raises UsageError if not."""
    if not family.pictures:
        able = sorted(f.name for f in installed().families.values() if f.pictures)
        raise UsageError(f"a {family.name} does not read pictures", hint=f"these families do: {', '.join(able)}")
    return family


def watching(family: Family) -> Family:
    """The family, if its models read videos. Raises UsageError if not."""
    if not family.videos:
        able = sorted(f.name for f in installed().families.values() if f.videos)
        raise UsageError(f"a {family.name} does not read videos", hint=f"these families do: {', '.join(able)}")
    return family


def _worded(
    prompt: str | Messages, shown: Sequence[Pictures], kinds: Sequence[str], tokenizer: Tokenizer
) -> tuple[str, bool]:
    """The prompt as a text with markers, and whether a chat template worded it, special tokens and all."""
    if isinstance(prompt, str) and (any(things.marker in prompt for things in shown) or not tokenizer.has_chat):
        return with_leads(prompt, shown), False
    messages = as_messages(prompt, kinds) if isinstance(prompt, str) else prompt
    return tokenizer.render_chat(messages), True


def _refuse_unknown(words: Sequence[str], tokenizer: Tokenizer) -> None:
    for word in words:
        if tokenizer.token_to_id(word) is None:
            raise UsageError(f"the tokenizer has no token {word!r}, which this model needs for pictures")


def _spelt(tokenizer: Tokenizer, index: int) -> str:
    if (text := tokenizer.id_to_token(index)) is None:
        raise UsageError(f"the tokenizer has no token {index}, which this model needs for pictures")
    return text
