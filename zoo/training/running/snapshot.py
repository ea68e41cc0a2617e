"""A run's folder: at every moment a checkpoint of its model, which goes from one step to a later one whole.

It holds what any saved model has, and beside that, unlisted in zoo.json because it goes on changing: the state of the
optimizer with the random states, the recipe with the step, the metrics and the report.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from zoo.adapters.export import write_adapter
from zoo.adapters.peft_library import is_adapted
from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.provenance import origin
from zoo.checkpoint.saving import check_written, dtype_name, export_steps, exported, foreign_specs
from zoo.checkpoint.target import companions, foreign_config, kept_settings
from zoo.errors import CheckpointError, UsageError, ZooError, clean, some
from zoo.files.write import check_target, write_folder
from zoo.models.construction import shared_parameters
from zoo.parallel.agreement import together
from zoo.parallel.gathering import whole
from zoo.registry import installed
from zoo.registry.family import OURS, Family
from zoo.training.loop import Trainee
from zoo.training.running.beside import showing
from zoo.training.running.rewarding import rewarding, under_head
from zoo.training.running.state import STATE, STATES, state_of, write_state
from zoo.weights.dialect import SAFETENSORS

if TYPE_CHECKING:
    from zoo.training.ranks.division import Division

FACTS, METRICS, REPORT = "training.json", "metrics.jsonl", "report.html"
NEEDED = ("words", "recipe", "data", "step", "stage", "best", "random")  # of the facts
UNLISTED = (STATE, STATES, FACTS, METRICS, REPORT)


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written, in which format, and the files beside its weights: those of a tokenizer it brought."""

    path: Path
    format: str
    files: Mapping[str, bytes | Path] | None = None  # None: those of the checkpoint that the model comes from
    end: int | None = None  # the token that ends what a model of reward reads
    division: Division | None = None  # over several ranks, which all call `write`

    @property
    def is_ours_to_write(self) -> bool:
        """Whether this process writes what is written once."""
        return self.division is None or self.division.is_first

    def check(self, *, force: bool = False) -> None:
        """Raise ZooError unless it is free, or with `force`, one that zoo wrote; on every rank alike."""
        check = partial(check_target, self.path, [], force, UNLISTED)
        check() if self.division is None else together(check)

    def write(self, trainee: Trainee, facts: Mapping[str, Any], report: str | None = None) -> None:
        """Put model, state and facts there in one step, in place of what is there. Raises ZooError, and leaves that.

        Of an adapted model it is the adapter, in peft's layout.
        """
        model: Any = trainee.model
        states = state_of(trainee)
        unlisted, put = self._unlisted(states, facts, report), self._putting(states)
        if is_adapted(model):
            with showing(model, trainee.kept()):
                write_adapter(model, self.path, self.format, force=True, unlisted=unlisted, put=put)
            return
        config: ModelConfig = model.config
        kept = trainee.kept()
        ours = {names[0]: kept.get(names[0], p).detach() for names, p in shared_parameters(model)}
        if trainee.extra is not None:
            head = {name: kept.get(f"extra.{name}", p) for name, p in trainee.extra_state().items()}
            config, ours = rewarding(config, self.end), under_head(ours, head)
        family = installed()[config.family]
        specs = {name: (dtype_name(t), tuple(t.shape)) for name, t in ours.items()}
        if len(dtypes := {dtype for dtype, _ in specs.values()}) == 1:
            config = replace(config, dtype=dtypes.pop())  # by which transformers reads them
        check_written(family, self.format, config)
        self._check_format(family)
        steps = export_steps(family, self.format, config, specs)
        ledger = getattr(model, "ledger", None)
        put(
            self.path,
            foreign_specs(steps, specs),
            exported(steps, lambda name: whole(ours[name])),
            config=foreign_config(family, self.format, config) | kept_settings(ledger, self.format),
            extra=self.files if self.files is not None else companions(ledger.checkpoint) if ledger else {},
            provenance={"family": family.name, "format": self.format, **(origin(ledger) if ledger else {})},
            force=True,
            unlisted=unlisted,
        )

    def record(self, values: Mapping[str, Any]) -> None:
        """Add a line to the metrics. Raises ZooError where the disk refuses."""
        if not self.is_ours_to_write:
            return
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            what = f"{self.path / METRICS} was not written: {error.strerror or error}"
            raise ZooError(what, why="the last checkpoint is as it was", hint="--resume goes on from it") from error

    def records(self) -> list[dict[str, Any]]:
        """The metrics so far. A last line that was cut off is of a step that no checkpoint has, and is left out.

        Raises CheckpointError, with its number, for another line that is not JSON.
        """
        file, found = self.path / METRICS, []
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                if number < len(lines):
                    raise CheckpointError(file, f"line {number}", f"is not JSON: {clean(error)}") from None
        return found

    def drop_records(self, after: int) -> None:
        """Forget the metrics of steps that were taken after the last checkpoint: they will be taken again."""
        if not self.is_ours_to_write:
            return
        kept = [record for record in self.records() if record["step"] <= after]
        (self.path / METRICS).write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")

    def _check_format(self, family: Family) -> None:
        """Raise UsageError for a format that is no config.json with safetensors beside it, as a run goes on from."""
        if self.format in ("zoo", "hf"):
            return
        if self.format in (*OURS, "gguf") or family.dialect(self.format).files != SAFETENSORS:
            out = "OUT.gguf" if self.format == "gguf" else "OUT"
            hint = f"leave format out, and convert what was trained: zoo convert {self.path} {out} --to {self.format}"
            raise UsageError(f"format={self.format} is not one that a run goes on from", hint=hint)

    def _putting(self, states: Mapping[str, Tensor]) -> Callable[..., Path]:
        """What writes the folder: `write_folder`, over several ranks with all of them."""
        if self.division is None:
            return write_folder
        from zoo.training.ranks.folder import written_by_all

        return partial(written_by_all, states)

    def _unlisted(
        self, states: Mapping[str, Tensor], facts: Mapping[str, Any], report: str | None
    ) -> dict[str, Callable[[Path], object] | None]:
        count = sum(not name.startswith("random/") for name in states)
        text = json.dumps({**facts, "tensors": count, "random": random.getstate()}) + "\n"
        files: dict[str, Callable[[Path], object] | None] = {
            STATE: partial(write_state, states) if self.division is None else None,
            STATES: None,  # all ranks write it
            FACTS: lambda path: path.write_text(text, encoding="utf-8"),
        }
        if (self.path / METRICS).exists():
            files[METRICS] = partial(shutil.copyfile, self.path / METRICS)
        if report is not None:
            files[REPORT] = lambda path: path.write_text(report, encoding="utf-8")
        return files


def read_facts(folder: Path) -> dict[str, Any]:
    """What the run in a folder wrote of itself. Raises UsageError where there is none."""
    file = folder / FACTS
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(f"{folder} holds no run to go on with", hint="leave --resume out to begin one") from None
    except ValueError as error:
        raise CheckpointError(file, "", f"is not JSON: {clean(error)}") from None
    if not isinstance(facts, dict) or (missing := [name for name in NEEDED if name not in facts]):
        what = f"lacks {some(missing)}" if isinstance(facts, dict) else "is not an object"
        raise CheckpointError(file, "", f"{what}: it does not say how the run goes on")
    return facts
