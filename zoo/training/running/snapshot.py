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
from typing import Any

import torch
from torch import Tensor

from zoo.adapters.export import write_adapter
from zoo.adapters.peft_library import is_adapted
from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.provenance import origin
from zoo.checkpoint.saving import check_written, dtype_name, export_steps, exported, foreign_specs
from zoo.checkpoint.target import companions, foreign_config
from zoo.errors import CheckpointError, UsageError, clean
from zoo.files.safetensors_writer import SafetensorsWriter
from zoo.files.write import check_target, write_folder
from zoo.models.construction import shared_parameters
from zoo.registry import installed
from zoo.training.loop import Trainee
from zoo.training.running.beside import showing
from zoo.training.running.rewarding import rewarding, under_head

STATE, FACTS, METRICS, REPORT = "optimizer.safetensors", "training.json", "metrics.jsonl", "report.html"
UNLISTED = (STATE, FACTS, METRICS, REPORT)


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written, in which format, and the files beside its weights: those of a tokenizer it brought."""

    path: Path
    format: str
    files: Mapping[str, bytes | Path] | None = None  # None: those of the checkpoint that the model comes from
    end: int | None = None  # the token that ends what a model of reward reads

    def check(self, *, force: bool = False) -> None:
        """Raise ZooError unless it is free, or with `force`, one that zoo wrote."""
        check_target(self.path, [], force, UNLISTED)

    def write(self, trainee: Trainee, facts: Mapping[str, Any], report: str | None = None) -> None:
        """Put model, state and facts there in one step, in place of what is there. Raises ZooError, and leaves that.

        Of an adapted model it is the adapter, in peft's layout.
        """
        model: Any = trainee.model
        unlisted = self._unlisted(trainee, facts, report)
        if is_adapted(model):
            with showing(model, trainee.kept()):
                write_adapter(model, self.path, self.format, force=True, unlisted=unlisted)
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
        steps = export_steps(family, self.format, config, specs)
        ledger = getattr(model, "ledger", None)
        write_folder(
            self.path,
            foreign_specs(steps, specs),
            exported(steps, ours.__getitem__),
            config=foreign_config(family, self.format, config),
            extra=self.files if self.files is not None else companions(ledger.checkpoint) if ledger else {},
            provenance={"family": family.name, "format": self.format, **(origin(ledger) if ledger else {})},
            force=True,
            unlisted=unlisted,
        )

    def record(self, values: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The metrics so far."""
        file = self.path / METRICS
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def drop_records(self, after: int) -> None:
        """Forget the metrics of steps that were taken after the last checkpoint: they will be taken again."""
        kept = [record for record in self.records() if record["step"] <= after]
        (self.path / METRICS).write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")

    def _unlisted(
        self, trainee: Trainee, facts: Mapping[str, Any], report: str | None
    ) -> dict[str, Callable[[Path], object]]:
        text = json.dumps({**facts, "random": random.getstate()}) + "\n"
        files: dict[str, Callable[[Path], object]] = {
            STATE: partial(_write_tensors, state_of(trainee)),
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
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(f"{folder} holds no run to go on with", hint="leave --resume out to begin one") from None
    except ValueError as error:
        raise CheckpointError(file, "", f"is no JSON: {clean(error)}") from None


def state_of(trainee: Trainee) -> dict[str, Tensor]:
    """All tensors that the next step depends on and the model's own files do not hold."""
    names = {id(p): name for name, p in trainee.named_parameters()}
    found: dict[str, Tensor] = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["random/cuda"] = torch.cuda.get_rng_state()
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
    """Put a trainee, whose model has the folder's weights, where the run stopped."""
    from safetensors.torch import load_file

    found = load_file(folder / STATE)
    optimizer, names = trainee.optimizer, {id(p): name for name, p in trainee.named_parameters()}
    state: dict[int, dict[str, Tensor]] = {}
    order = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    kinds: dict[str, dict[str, Tensor]] = {"weight": {}, "mean": {}, "best": {}, "extra": {}}
    for path, value in found.items():
        kind, _, name = path.partition("/")
        if kind == "optimizer":
            key, _, parameter = name.partition("/")
            at = order.index(parameter) if parameter in order else -1
            state.setdefault(at, {})[key] = value
        elif kind in kinds:
            kinds[kind][name] = value
    _check_state(state, [p for group in optimizer.param_groups for p in group["params"]], folder / STATE)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    with torch.no_grad():
        trainee.load_extra(kinds["extra"])
        for name, parameter in trainee.named_parameters():
            if name in kinds["weight"]:
                parameter.copy_(kinds["weight"][name])
    trainee.mean, trainee.best = kinds["mean"] or None, kinds["best"] or None
    torch.set_rng_state(found["random/cpu"])
    if "random/cuda" in found and torch.cuda.is_available():
        torch.cuda.set_rng_state(found["random/cuda"])
    version, numbers, gauss = facts["random"]
    random.setstate((version, tuple(numbers), gauss))


def _check_state(state: Mapping[int, dict[str, Tensor]], parameters: list[Any], file: Path) -> None:
    """Refuse a state that is not of these parameters, or holds for some of them less than for others."""
    if -1 in state:
        raise CheckpointError(file, next(iter(state[-1])), "is of a parameter that does not learn")
    for number, held in state.items():
        if held.keys() != next(iter(state.values())).keys():
            raise CheckpointError(file, "", "tensors of the optimizer are missing, or too many")
        for key, value in held.items():
            if value.ndim and value.shape != parameters[number].shape:
                what = f"{list(value.shape)} beside a parameter of {list(parameters[number].shape)}"
                raise CheckpointError(file, key, what)


def _write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    writer = SafetensorsWriter(path, {name: (dtype_name(t), tuple(t.shape)) for name, t in tensors.items()})
    try:
        for name, tensor in tensors.items():
            writer.write(name, tensor.detach().cpu().contiguous())
        writer.finish()
    finally:
        writer.close()
