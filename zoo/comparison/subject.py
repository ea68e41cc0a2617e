"""The models that are compared, found by name: presets, presets with overrides, checkpoints, configs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.quantisation import quantisation, quantised_bytes
from zoo.anatomy.size import Size
from zoo.errors import UsageError, ZooError, clean
from zoo.presets.homes import tell_preset
from zoo.presets.hub_ids import preset_of
from zoo.presets.named import FILES, NamedModel, is_path, named
from zoo.registry import installed

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger

MAX_NAME = 60


@dataclass(frozen=True)
class ComparedModel:
    """One of the models that are compared; `size` is None where its family describes no anatomy."""

    name: str  # as it was asked for, safe to print
    config: ModelConfig
    size: Size | None
    description: str = ""
    stored: int | None = None  # bytes of a checkpoint's weights, as they lie in its files
    rounded: int | None = None  # bytes of the weights in memory, where they are rounded on the way in

    @classmethod
    def of(cls, what: str | Path | ModelConfig, *, is_measured: bool = False) -> ComparedModel:
        """The subject that `what` names; where its weights `is_measured` too, what they lie beside.

        A name of `zoo list`, overrides behind it ("llama3 model.num_kv_heads=4"), a folder, a file, org/name,
        hf://org/name@rev or pkg://package/path. Of a checkpoint the headers are read, and all of it must be accounted
        for. Raises ZooError, as `zoo.compose` and `zoo.inspect` do, for what is not there or not what it says.
        """
        if isinstance(what, ModelConfig):
            return cls._sized(what.family, what)
        model = named(what)
        name = preset_of(model.name)
        is_file = isinstance(what, Path) or is_path(what) or "/" in name or name.endswith(FILES) or Path(name).exists()
        is_weights = model.adapter is not None or (is_measured and Path(name).exists())
        if is_weights or (is_file and name not in installed().presets()):
            ledger = _ledger_of(model)
            found = replace(cls._sized(str(what), ledger.config), stored=ledger.nbytes)
        else:
            tell_preset(name)
            words = [*model.overrides, *([f"family={model.family}"] if model.family else [])]
            found = cls._sized(str(what), _of_preset(name, words), _description(name))
        return found if model.quantize is None else found._rounded(model.quantize)

    def _rounded(self, form: str) -> ComparedModel:
        """The same model with the matrices of its layers rounded on the way in, which no file holds."""
        how = quantisation(form)
        if self.size is None:
            raise UsageError(f"quantize={form} needs to know what the weights of a {self.config.family} are for")
        return replace(self, rounded=sum(quantised_bytes(self.size.anatomy.weights, how, self.size.dtype)))

    @classmethod
    def _sized(cls, name: str, config: ModelConfig, description: str = "") -> ComparedModel:
        try:
            size = Size.of(config)
        except ZooError:  # a family that is known by building it only
            size = None
        return cls(clean(name, MAX_NAME), config, size, clean(description, 200))


def distinct(subjects: Sequence[ComparedModel]) -> tuple[ComparedModel, ...]:
    """The same subjects, those that share a name numbered: gpt2, gpt2 (2)."""
    seen: dict[str, int] = {}
    out = []
    for s in subjects:
        seen[s.name] = number = seen.get(s.name, 0) + 1
        out.append(s if number == 1 else replace(s, name=f"{s.name} ({number})"))
    return tuple(out)


def with_adapter(what: str | Path | ModelConfig, adapter: str | Path) -> str:
    """A checkpoint with an adapter, as a subject of its own. Raises UsageError for a config, which has no weights."""
    if isinstance(what, ModelConfig):
        raise UsageError("an adapter stands beside weights, and a config has none")
    name = shlex.quote(str(what)) if isinstance(what, Path) or is_path(what) else what
    return f"{name} {shlex.quote(f'adapter={adapter}')}"


def _of_preset(name: str, overrides: Sequence[str]) -> ModelConfig:
    from zoo.presets import config

    preset = config(name)  # before Hydra sees a stranger's file
    if not overrides:
        return preset
    from zoo.presets.composition import compose

    return compose(name, *overrides)


def _ledger_of(model: NamedModel) -> Ledger:
    from zoo.checkpoint.adapted import fit_of
    from zoo.checkpoint.inspection import inspect
    from zoo.checkpoint.notes import tell

    ledger = inspect(model.name, *model.overrides, family=model.family)
    ledger.check()
    if model.adapter is not None:
        fit_of(ledger, model.adapter).check()
    tell(ledger)
    return ledger


def _description(name: str) -> str:
    return installed().presets()[name].description if name in installed().presets() else ""
