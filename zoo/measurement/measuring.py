"""Models measured on one text, one in memory at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, ZooError
from zoo.measurement.agreement import Distributions, KLMeter, compare
from zoo.measurement.continuations import continuations, parted, prompts_of
from zoo.measurement.passages import SAMPLE, Passage, encode, read_text
from zoo.measurement.perplexity import Reading, read
from zoo.measurement.record import Measured, Measurements
from zoo.measurement.subject import OpenedSource, main_dtype, open_source
from zoo.parallel.agreement import check_alike

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

WIDEST = 1024  # tokens of a window, unless asked for more: logits of a window are held at once

Tell = Callable[[str], None]


def measure(
    sources: Sequence[str | Path | OpenedSource | ZooError],
    *,
    text: str | Path = SAMPLE,
    window: int | None = None,
    stride: int | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    speed: bool = False,
    allow_pickle: bool = False,
    mesh: DeviceMesh | None = None,
    tell: Tell | None = None,
) -> Measurements:
    """Perplexity, bits per byte, agreement and KL with the first source, continuations and, if asked, speed and memory.

    `text` is a file or `sample`, the one in the box. All models read it in windows of the same number of tokens: the
    least that any was made for, at most 1,024, unless `window` says otherwise; `stride` is the window's unless given.
    Each keeps its file's dtype unless `dtype` says otherwise. A source that cannot be measured has its reason in its
    record; where it is the only one, the reason is raised. An OpenedSource is a source opened with options of its own,
    an error one that could not be opened. With a `mesh` every rank reads the text with its share of each model.
    """
    if mesh is not None and speed:
        raise UsageError("speed= and mesh= do not go together", hint="zoo bench MODEL parallel.tp=2 times one model")
    passage_text = read_text(text)
    opened = [s if isinstance(s, OpenedSource | ZooError) else _opened(s, allow_pickle) for s in sources]
    subjects = [s for s in opened if isinstance(s, OpenedSource)]
    if mesh is not None:
        check_alike("what can be measured", repr([str(s) if isinstance(s, ZooError) else "" for s in opened]))
    if not subjects:
        raise next((e for e in opened if isinstance(e, ZooError)), UsageError("there is no model to measure"))
    size = window or min([WIDEST, *(s.max_seq_len for s in subjects if s.max_seq_len)])
    room = _Room(passage_text, size, stride or size, dtype, device, mesh)
    models = []
    with TemporaryDirectory(prefix="zoo-measure-") as folder:
        for source, subject in zip(sources, opened, strict=True):
            name = subject.source if isinstance(subject, OpenedSource) else str(source)
            if tell is not None:
                tell(f"measuring {name}")
            models.append(_measured(name, subject, room, Path(folder)))
    if speed:
        _time(models, opened, tell=tell, device=device, dtype=dtype)
    from zoo.measurement.environment import environment

    return Measurements(str(text), models, size, stride or size, environment(device))


class _Room:
    """What the models of one measurement share: the text, the windows, and what the first one said."""

    def __init__(
        self, text: str, window: int, stride: int, dtype: str | None, device: str, mesh: DeviceMesh | None
    ) -> None:
        self.text, self.window, self.stride, self.dtype, self.device = text, window, stride, dtype, device
        self.mesh = mesh
        self.prompts = prompts_of(text)
        self.first: Measured | None = None
        self.subject: OpenedSource | None = None  # the first's
        self.kept: Distributions | None = None


def _opened(source: str | Path, allow_pickle: bool) -> OpenedSource | ZooError:
    try:
        return open_source(source, allow_pickle=allow_pickle)
    except ZooError as error:
        return error


def _measured(source: str, subject: OpenedSource | ZooError, room: _Room, folder: Path) -> Measured:
    if isinstance(subject, ZooError):
        return Measured(source, reason=subject.what.replace("\n", ": "))
    passage = encode(subject.tokenizer, room.text)
    over: dict[str, Any] = {} if room.mesh is None else {"mesh": room.mesh}
    model = subject.load(dtype=room.dtype, device=room.device, **over)
    found = Measured(source, family=model.config.family, dtype=main_dtype(model))
    if room.first is None:
        room.first, room.subject = found, subject
        room.kept = Distributions(folder / "first", passage.num_scored, model.config.vocab_size)
        found.reading = _read(model, passage, room, room.kept.keep)
    elif reason := _unlike(room, subject, passage):
        found.unlike = reason
        found.reading = _read(model, passage, room, None)
    else:
        assert room.kept is not None
        assert room.first.reading is not None
        divergence = KLMeter(room.kept)
        found.reading = _read(model, passage, room, divergence.take)
        found.agreement = compare(room.first.reading, found.reading, divergence)
    found.continuations = continuations(model, subject.tokenizer, room.prompts)
    if found.agreement is not None:
        found.continuations = parted(room.first.continuations, found.continuations)
    del model
    gc.collect()  # before the next one is loaded
    return found


def _read(model: Any, passage: Passage, room: _Room, take: Any) -> Reading:
    return read(model, passage, window=room.window, stride=room.stride, take=take)


def _unlike(room: _Room, subject: OpenedSource, passage: Passage) -> str:
    """Why a model's next tokens cannot be compared with the first's; empty: they can.

    Vocabularies are the same where the tokenizers are, or where they have as many tokens and cut this text alike.
    """
    assert room.subject is not None
    assert room.first is not None
    assert room.first.reading is not None
    if room.subject.vocab_size != subject.vocab_size:
        sizes = f"{room.subject.vocab_size:,} and {subject.vocab_size:,} tokens"
        return f"no agreement or KL: the vocabularies differ ({sizes})"
    is_same = room.subject.vocabulary == subject.vocabulary
    if not is_same and room.first.reading.passage.ids != passage.ids:
        return "no agreement or KL: the tokenizers cut the text differently"
    return ""


def _time(
    models: Sequence[Measured], opened: Iterable[OpenedSource | ZooError], *, tell: Tell | None, **options: Any
) -> None:
    """Speed and peak memory of each, in a process of its own."""
    from zoo.measurement.speed.benchmark import duel
    from zoo.measurement.speed.job import Job

    for found, subject in zip(models, opened, strict=True):
        if isinstance(subject, OpenedSource):
            if tell is not None:
                tell(f"timing {found.source}")
            asked: dict[str, Any] = {
                "overrides": subject.overrides,
                "quantize": subject.quantize,
                **fitting(subject),
                **options,
            }
            job = Job(subject.source, subject.options, **asked)
            found.speed = duel(found.source, job, repeats=3).models[0]


def fitting(subject: OpenedSource) -> dict[str, Any]:
    """A prompt and new tokens that the model has room for: 128 and 64, or half and a quarter of its context."""
    longest = subject.max_seq_len or 256
    return {"prompt": min(128, max(1, longest // 2)), "new": min(64, max(1, longest // 4))}
