"""From a prompt and pictures to what a model that sees is given: token ids, and the arguments of its first pass."""

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
    images: Sequence[str | Path | Image],
    *,
    tokenizer: Tokenizer,
    folder: str | Path | None = None,
) -> Illustrated:
    """A prompt with pictures, as the family's own processor makes it.

    A text that has markers, as the family's chat template writes them, is taken as it stands. Any other becomes a
    message after the pictures where there is a chat template, and follows them directly where there is none. Messages
    are for the template to word, their content being lists of {"type": "image"} and {"type": "text", "text": ...}.
    `folder` holds the settings of the pictures (default: where the weights came from).
    Raises UsageError where pictures and places differ in number or the model reads none, CheckpointError for files
    that are no pictures, MissingExtra without Pillow.
    """
    read = seeing(installed()[model.config.family]).picture_reader
    opened = [read_image(image) if isinstance(image, str | Path) else image for image in images]
    if not opened:
        raise UsageError("there are no pictures")
    if folder is None and (ledger := getattr(model, "ledger", None)) is not None:
        folder = ledger.checkpoint.folder
    settings = None if folder is None else settings_of(Path(folder))
    pictures = read(model.config, opened, settings, lambda index: _spelt(tokenizer, index))
    text, is_worded = _worded(prompt, pictures, tokenizer)
    tokens = tokenizer.encode(filled(text, pictures), add_special_tokens=not is_worded)
    inputs = {name: tensor.to(device_of(model)) for name, tensor in pictures.inputs.items()}
    return Illustrated(tokens, inputs)


def seeing(family: Family) -> Family:
    """The family, if its models read pictures. Raises UsageError if not."""
    if not family.pictures:
        able = sorted(f.name for f in installed().families.values() if f.pictures)
        raise UsageError(f"a {family.name} does not read pictures", hint=f"these families do: {', '.join(able)}")
    return family


def _worded(prompt: str | Messages, pictures: Pictures, tokenizer: Tokenizer) -> tuple[str, bool]:
    """The prompt as a text with markers, and whether a chat template worded it, special tokens and all."""
    if isinstance(prompt, str) and (pictures.marker in prompt or not tokenizer.has_chat):
        return with_leads(prompt, pictures), False
    messages = as_messages(prompt, len(pictures.spans)) if isinstance(prompt, str) else prompt
    return tokenizer.render_chat(messages), True


def _spelt(tokenizer: Tokenizer, index: int) -> str:
    if (text := tokenizer.id_to_token(index)) is None:
        raise UsageError(f"the tokenizer has no token {index}, which this model needs for pictures")
    return text
