"""What running the models shows, as rows of the comparison. Imports torch when it is asked to run something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.quantisation import quantisation
from zoo.comparison.record import Findings
from zoo.difference.record import WeightDifference
from zoo.difference.side import WeightSource, coarser
from zoo.difference.streaming import diff_sources
from zoo.errors import UsageError, ZooError, clean
from zoo.presets.named import named
from zoo.report.table import Row

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

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
    mesh: DeviceMesh | None = None,
    tell: Callable[[str], None] | None = None,
) -> Findings:
    """The subjects' own weights on a text; one that has none, or predicts no next token, has its reason in the notes.

    Raises what is wrong with the first where none can be measured.
    """
    from zoo.measurement import measure

    opened = [_opened(what) for what in subjects]
    options: dict[str, Any] = {} if mesh is None else {"mesh": mesh}
    found = measure(
        opened, text=text, window=window, stride=stride, dtype=dtype, device=device, speed=speed, tell=tell, **options
    )
    for model, what in zip(found.models, subjects, strict=True):
        model.source = clean(what.family if isinstance(what, ModelConfig) else what)
    pieces = tuple(tuple(m.pieces()) or None for m in found.models)
    roundings = _roundings(subjects, opened)
    rows, notes = [*found.rows(), *_errors(roundings)], [*found.notes(), *_told(found.models, roundings)]
    return Findings(tuple(rows), _losses(pieces), tuple(notes), pieces, found.to_dict(), roundings)


def _roundings(
    subjects: Sequence[str | Path | ModelConfig], opened: Sequence[OpenedSource | ZooError]
) -> tuple[WeightDifference | None, ...]:
    """The weights of each against the first's, where one of the two may be the other rounded."""
    sources = [_source(what, one) for what, one in zip(subjects, opened, strict=True)]
    first, found = sources[0], list[WeightDifference | None]()
    for source in sources:
        is_asked = first is not None and source is not None and source is not first and coarser(first, source)
        try:
            found.append(diff_sources(first, source) if is_asked and first and source else None)
        except UsageError:  # of two families
            found.append(None)
    return tuple(found)


def _source(what: str | Path | ModelConfig, opened: OpenedSource | ZooError) -> WeightSource | None:
    if isinstance(opened, ZooError) or isinstance(what, ModelConfig):
        return None
    how = None if opened.quantize is None else quantisation(opened.quantize)
    return WeightSource(clean(what, 60), opened.ledger, how)


def _errors(roundings: Sequence[WeightDifference | None]) -> list[Row]:
    """How far the weights are from the first's, where one is the other rounded."""
    values = tuple(None if d is None or d.rounding is None else d.rounding.median for d in roundings)
    if all(value is None for value in values):
        return []
    texts = tuple("" if value is None else f"{value:.2%}" for value in values)
    return [Row("measured", "relative error of weights, median", values, texts, True)]


def _told(models: Sequence[Any], roundings: Sequence[WeightDifference | None]) -> list[str]:
    """What the weights of each are to the first's, in words."""
    return [
        line
        for model, d in zip(models, roundings, strict=True)
        if d is not None and d.rounding is not None
        for line in d.rounding.lines("the first", model.source)
    ]


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
        model = named(what)
        more: dict[str, Any] = {} if model.adapter is None else {"adapter": model.adapter}
        return open_source(model.name, *model.overrides, family=model.family, quantize=model.quantize, **more)
    except ZooError as error:
        return error
