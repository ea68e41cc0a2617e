"""One model on texts (perplexity), on prompts with references, and on tasks of lm-evaluation-harness."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import MissingExtra, UnknownName, UsageError, ZooWarning
from zoo.generation.compilation import CompiledReader, compile_seconds
from zoo.measurement.passages import SAMPLE, encode, read_text
from zoo.measurement.perplexity import Reading, read
from zoo.measurement.references import METRICS, ReferenceScores, compare, read_examples, scorers
from zoo.measurement.subject import OpenedSource, main_dtype, open_source
from zoo.parallel.agreement import together

if TYPE_CHECKING:
    import torch
    from torch.distributed.device_mesh import DeviceMesh

WIDEST = 1024  # tokens of a window, unless asked for more


@dataclass(frozen=True)
class Score:
    """One number of one task."""

    task: str
    metric: str
    filter: str  # what the harness did to the answer first
    value: float
    stderr: float | None  # as the harness estimates it; None: it does not


@dataclass(frozen=True)
class Evaluation:
    """What one model scored."""

    source: str
    family: str
    dtype: str  # that it was computed in
    texts: dict[str, Reading] = field(default_factory=dict)  # by file
    scores: list[Score] = field(default_factory=list)
    references: dict[str, ReferenceScores] = field(default_factory=dict)  # by file
    environment: dict[str, Any] = field(default_factory=dict)
    compile_seconds: float | None = None  # that compiling took, where that was asked

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values; losses of single tokens are left out."""
        return {
            "source": self.source,
            "family": self.family,
            "dtype": self.dtype,
            "texts": {name: reading.to_dict() for name, reading in self.texts.items()},
            "tasks": [vars(score) for score in self.scores],
            "references": {name: comparison.to_dict() for name, comparison in self.references.items()},
            "environment": self.environment,
            **({} if self.compile_seconds is None else {"compile_seconds": self.compile_seconds}),
        }


def evaluate(
    source: str | Path,
    *overrides: str,
    text: str | Path | Sequence[str | Path] = (),
    references: str | Path | Sequence[str | Path] = (),
    metrics: Iterable[str] = METRICS,
    bleu_tokens: str = "13a",
    settings: Mapping[str, Any] | None = None,
    ignore_settings: bool = False,
    tasks: Sequence[str] = (),
    include_path: str | Path | None = None,
    window: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    num_fewshot: int | None = None,
    batch_size: int = 8,
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
    quantize: str | None = None,
    keep_packed: bool = False,
    compile: bool = False,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    mesh: DeviceMesh | None = None,
    tell: Callable[[str], None] | None = None,
) -> Evaluation:
    """Perplexity on texts, by default the one in the box, and the scores of harness tasks, if any are named.

    `text` are files or `sample`; zoo.measurement says how they are read. `references` are files of prompts and what
    should be said, scored by `metrics` as zoo.measurement.references says; `settings` of generation go before the
    checkpoint's, and `ignore_settings` ignores those of it that zoo does not know. `tasks` are names that the harness
    knows or that a folder `include_path` of task files describes; it may hold code, which is run. `limit` examples of
    each task at most. With a `mesh` every rank reads the same texts with its share of the model.
    `compile` compiles the model: whole windows for a text, steps of one token for answers. Raises
    MissingExtra without lm-eval, UnknownName for a task that is not there.
    """
    files = [text] if isinstance(text, str | Path) else list(text)
    compared = [references] if isinstance(references, str | Path) else list(references)
    examples = {str(file): read_examples(file) for file in compared}
    metrics = scorers(metrics, bleu_tokens) if compared else []
    files = files or ([] if tasks or compared else [SAMPLE])
    passages = {str(file): read_text(file) for file in files}  # a name mistyped is told before a model is loaded
    manager = _manager(tasks, include_path) if tasks else None
    say = tell or (lambda line: None)
    say(f"loading {source}")
    opening = partial(
        open_source, source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle,
        answers=not files and not tasks, ignore_settings=ignore_settings,
    )  # fmt: skip
    subject = opening() if mesh is None else together(opening)
    config = subject.settings.replaced(**(settings or {})) if compared else None  # wrong ones before the model
    model = subject.load(dtype=dtype, device=device, quantize=quantize, keep_packed=keep_packed, mesh=mesh)
    size = window or min(WIDEST, subject.max_seq_len or WIDEST)
    if (trained := subject.max_seq_len) and size > trained:
        told = f"windows of {size} tokens, more than model.max_seq_len={trained}: the model was not trained for that"
        warnings.warn(told, ZooWarning, stacklevel=2)
    reader = CompiledReader(model, model) if compile else model
    readings = {}
    for name, content in passages.items():
        say(f"reading {name}")
        readings[name] = read(reader, encode(subject.tokenizer, content), window=size, stride=stride)
    scores: list[Score] = []
    if manager is not None:
        say(f"running {', '.join(tasks)}")
        options = {"limit": limit, "num_fewshot": num_fewshot}
        scores = run_tasks(model, subject, tasks, manager, batch_size=batch_size, options=options)
    found = {}
    for name, held in examples.items():
        say(f"answering {name}")
        texts = answers(
            model, subject.tokenizer, [example.prompt for example in held], config, batch_size, compile=compile
        )
        found[name] = compare(texts, held, metrics, bleu_tokens=bleu_tokens)
    from zoo.measurement.environment import environment

    return Evaluation(
        str(source),
        subject.ledger.family.name,
        main_dtype(model),
        readings,
        scores,
        found,
        environment(device),
        compile_seconds(model) if compile else None,
    )


def answers(
    model: Any, tokenizer: Any, prompts: Sequence[str], config: Any, batch_size: int, *, compile: bool = False
) -> list[str]:
    """What the model says after each prompt. Raises UsageError where several texts of each are asked for."""
    from zoo.generation import generate

    if config.num_return_sequences > 1:
        told = f"num_return_sequences={config.num_return_sequences}: one text of each prompt is compared"
        raise UsageError(told, hint="generation.num_return_sequences=1")
    texts: list[str] = []
    for start in range(0, len(prompts), batch_size):
        part = list(prompts[start : start + batch_size])
        texts += generate(model, part, tokenizer=tokenizer, config=config, compile=compile).texts or []
    return texts


def _manager(tasks: Sequence[str], include_path: str | Path | None) -> Any:
    """The harness' list of tasks, with all of `tasks` in it. Its own thousands are read only where they are needed."""
    if find_spec("lm_eval") is None:
        raise MissingExtra("lm-eval", "eval", "--tasks")
    from lm_eval.tasks import TaskManager  # pyrefly: ignore[missing-import]  # an extra

    if include_path is not None:
        if not Path(include_path).is_dir():
            raise UsageError(f"{include_path} is not a folder of tasks")
        manager = TaskManager(include_path=str(include_path), include_defaults=False)
        if set(tasks) <= set(manager.all_tasks):
            return manager
    manager = TaskManager(include_path=None if include_path is None else str(include_path))
    if missing := [task for task in tasks if task not in manager.all_tasks]:
        raise UnknownName(f"there is no task {missing[0]!r}", missing[0], manager.all_tasks)
    return manager


def run_tasks(
    model: Any, subject: OpenedSource, tasks: Sequence[str], manager: Any, *, batch_size: int, options: dict[str, Any]
) -> list[Score]:
    """The scores of `tasks`, seeded as the harness does by default."""
    from lm_eval import simple_evaluate  # pyrefly: ignore[missing-import]  # an extra

    from zoo.measurement.harness import ZooLM

    lm = ZooLM(model, subject.tokenizer, settings=subject.settings, batch_size=batch_size)
    found = simple_evaluate(model=lm, tasks=list(tasks), task_manager=manager, log_samples=False, **options)
    assert found is not None, "None comes from ranks other than the first alone"
    return [score for task, told in found["results"].items() for score in scores_of(task, told)]


def scores_of(task: str, told: dict[str, Any]) -> list[Score]:
    """The harness' `metric,filter` entries as records."""
    found = []
    for key, value in told.items():
        metric, comma, name = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = told.get(f"{metric}_stderr,{name}")
        is_known = isinstance(stderr, int | float)
        found.append(Score(task, metric, name, float(value), float(stderr) if is_known else None))
    return found
