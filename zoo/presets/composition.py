"""From a preset's name and overrides to a typed config, by Hydra.

Precedence: a field's default < the preset < an option group (`rope=yarn`) < the overrides.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, errors

from zoo.anatomy.config import ModelConfig, refuse_absurd
from zoo.anatomy.ranges import refuse_out_of_range
from zoo.errors import ConfigError, UsageError, WrongType, ZooError, ZooWarning, clean
from zoo.presets.catalogue import config as read_preset
from zoo.presets.hydra_source import CheckedPresets, Schemas, ZooSearchPath
from zoo.presets.mistakes import hidden_preset, no_field
from zoo.presets.overrides import expand, grammar, vet
from zoo.presets.stretched import refuse_unsaid_context
from zoo.presets.translation import UNREADABLE, translate
from zoo.registry import Registry, installed
from zoo.registry.isolation import reason_of

# Hydra 1.3 warns unless it is told which version's defaults to take; 1.4 knows only its own.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}

_LOCK = threading.RLock()  # Hydra keeps its state in singletons


def compose(model: str, *overrides: str) -> ModelConfig:
    """The config of a preset with overrides, as `zoo build` reads them: compose("llama3", "model.num_layers=4").

    Raises UsageError for a name, key or value that is not known, ConfigError for values that contradict each other.
    """
    for word in (model, *overrides):
        if not isinstance(word, str):
            raise WrongType("a preset or override", word, "a text, such as llama3 or model.num_layers=4")
    config = _as_it_stands(model) if not overrides else None
    if config is None:
        config = by_hydra(model, *overrides)
    for kept, hidden in installed().preset_clashes():
        if kept.name == model:
            warnings.warn(hidden_preset(kept.name, kept.plugin, hidden.plugin), ZooWarning, stacklevel=2)
    return config


def by_hydra(model: str, *overrides: str) -> ModelConfig:
    """What `compose` gives, of a preset as it stands too, which takes Hydra twenty times as long to read."""
    words = expand([model, *overrides], grammar("build", with_keys=False), needs_model=True)
    vet(words)
    return _composed(words)


def _as_it_stands(model: str) -> ModelConfig | None:
    """The config of a preset, which needs no Hydra; None of what else may be typed, and of one with a mistake."""
    if model not in installed().presets():
        return None
    try:
        return read_preset(model)
    except ZooError:
        return None  # Hydra says where it is


def override(config: ModelConfig, *overrides: str) -> ModelConfig:
    """The config with overrides, read as `compose` reads those of a preset: `model.rope.theta=1e6`, `rope=yarn`.

    Raises UsageError for a key or value that is not known, ConfigError for values that contradict each other.
    """
    words = expand(overrides, grammar("build", with_keys=False), config_class=type(config))
    if named := [word for word in words if word.lstrip("+~").startswith(("model=", "model@"))]:
        raise UsageError(f"{clean(named[0])!r} names another model", hint="type: model.FIELD=VALUE")
    vet(words)
    with translated():
        sweeps = [o for o in OverridesParser.create().parse_overrides(words) if o.is_sweep_override()]
    if sweeps:
        hint = "a checkpoint is read with one value for each field"
        raise UsageError(f"several values for {clean(sweeps[0].get_key_element())}", hint=hint)
    _refuse_look_ups(config.to_dict(), "model")
    with _LOCK:
        install()
        store = ConfigStore.instance()
        store.store(group="model", name=GIVEN, node=OmegaConf.structured(config))
        try:
            return _composed([f"model='{GIVEN}'", *words])
        finally:
            del store.repo["model"][f"{GIVEN}.yaml"]


GIVEN = "<checkpoint>"  # no file of this name is a preset


def _refuse_look_ups(values: Any, path: str) -> None:
    """What a checkpoint says is data: OmegaConf would look `${oc.env:HOME}` up as if the user had typed it."""
    if isinstance(values, str) and "${" in values:
        raise ConfigError(f"{path}={clean(values)!r} is in the checkpoint, and an override would resolve it")
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for name, value in items:
        _refuse_look_ups(value, f"{path}.{name}")


def _composed(words: list[str]) -> ModelConfig:
    install()
    with _LOCK, translated(), _apart(), hydra.initialize_config_module("zoo.conf", "build", **VERSION_BASE):
        return checked(hydra.compose("build", overrides=words), words)


@cache
def install() -> Registry:
    """Make every plugin's schemas, presets and options known to Hydra, once per process."""
    registry = installed()
    for name, family in registry.families.items():
        # A third party's code: whatever it raises, the other families work, and asking for this one repeats why.
        try:
            ConfigStore.instance().store(group="schema", name=name, node=family.config_class, provider=f"zoo:{name}")
        except Exception as error:
            UNREADABLE[name] = clean(reason_of(error.__cause__ or error), 200)
    repo = ConfigStore.instance().repo
    repo["schema"] = Schemas(repo.get("schema", {}))
    for plugin in (CheckedPresets, ZooSearchPath):
        Plugins.instance().register(plugin)
    return registry


def checked(composed: DictConfig, words: Iterable[str] = ()) -> ModelConfig:
    """The `model` of a config composed with overrides as its family's dataclass. Raises UsageError for other keys."""
    node = composed.get("model")
    kind = OmegaConf.get_type(node) if node is not None else None
    if not (isinstance(kind, type) and issubclass(kind, ModelConfig)):
        raise UsageError("the preset names no family", hint="start its defaults with /schema/FAMILY@_here_")
    if unknown := list(_unknown_keys(node, "model")):
        raise UsageError("\n".join(unknown[:3]), hint=f"and {len(unknown) - 3} more" if len(unknown) > 3 else "")
    config: Any = OmegaConf.to_object(node)
    refuse_absurd(config)
    refuse_out_of_range(config)
    refuse_unsaid_context(config, words)
    if (family := installed()[config.family]).config_class is not kind:
        raise ConfigError(
            f"model.family={config.family!r} is not the family of {kind.__name__}",
            why=f"{config.family} reads {family.config_class.__name__}",
        )
    return config


@contextmanager
def translated() -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into ZooErrors."""
    try:
        yield
    except (HydraException, errors.OmegaConfBaseException) as error:
        raise translate(error) from error
    except AssertionError as error:  # how OmegaConf ends where a key leads into a record that is null
        if "Unexpected type for root: NoneType" not in str(error):
            raise
        what = "a field of a part is set, but the part is null"
        raise UsageError(what, hint="leave the field out, or start from a preset that has the part") from error


def _unknown_keys(node: Any, path: str) -> Iterator[str]:
    """A sentence for every key below `node` that its dataclass has no field for."""
    kind = OmegaConf.get_type(node)
    record = kind if isinstance(kind, type) and is_dataclass(kind) else None
    known = [f.name for f in fields(record)] if record else list(node)
    for key in node:
        if record and key not in known:
            yield no_field(path, str(key), known, record.__name__)
        elif not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            yield from _unknown_keys(node[key], f"{path}.{key}")


@contextmanager
def _apart() -> Iterator[None]:
    """Leave a Hydra application that may be running around us as it was."""
    state: dict[Any, Any] = Singleton._instances
    kinds = (GlobalHydra, JobRuntime, VersionBase)
    outer = {kind: state.pop(kind) for kind in kinds if kind in state}
    try:
        yield
    finally:
        for kind in kinds:
            state.pop(kind, None)
        state.update(outer)
