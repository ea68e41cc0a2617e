"""What running the models shows, as rows of the comparison. Imports torch when it is asked to run something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ModelConfig
from zoo.comparison.record import Findings
from zoo.comparison.subject import is_path, words_of
from zoo.errors import UsageError, ZooError, clean

if TYPE_CHECKING:
    from zoo.measurement.subject import OpenedSource


def measured(
    subjects: Sequence[str | Path | ModelConfig],
    *,
    text: str | Path,
    window: int | None = None,
    stride: int | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    speed: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Findings:
    """The subjects' own weights on a text; one that has none, or predicts no next token, has its reason in the notes.

    Raises what is wrong with the first where none can be measured.
    """
    from zoo.measurement import measure

    opened = [_opened(what) for what in subjects]
    found = measure(opened, text=text, window=window, stride=stride, dtype=dtype, device=device, speed=speed, tell=tell)
    for model, what in zip(found.models, subjects, strict=True):
        model.source = clean(what.family if isinstance(what, ModelConfig) else what)
    pieces = tuple(tuple(m.pieces()) or None for m in found.models)
    return Findings(tuple(found.rows()), _losses(pieces), tuple(found.notes()), pieces, found.to_dict())


def _losses(pieces: Sequence[Any]) -> tuple[tuple[float, ...] | None, ...]:
    """The losses of the first tokens, where all models cut them alike: elsewhere token 7 is another token in each."""
    cuts = {tuple(piece for piece, _ in found) for found in pieces if found}
    if len(cuts) != 1:
        return ()
    return tuple(tuple(loss for _, loss in found) if found else None for found in pieces)


def _opened(what: str | Path | ModelConfig) -> OpenedSource | ZooError:
    """The subject as it is measured, or why it cannot be."""
    from zoo.measurement.subject import open_source

    if isinstance(what, ModelConfig):
        return UsageError("a config has no weights to measure")
    try:
        if isinstance(what, Path) or is_path(what):
            return open_source(what)
        name, *rest = words_of(what)
        families = [word.removeprefix("family=") for word in rest if word.startswith("family=")]
        overrides = [word for word in rest if not word.startswith("family=")]
        return open_source(name, *overrides, family=families[0] if families else None)
    except ZooError as error:
        return error
