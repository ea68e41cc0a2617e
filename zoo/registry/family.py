"""The record that a plugin hands the registry."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.registry.isolation import isolated

if TYPE_CHECKING:
    from zoo.anatomy.config import ModelConfig
    from zoo.weights.dialect import Dialect, Match


OURS = ("zoo", "dcp")  # the formats of every family: its own config and names
KINDS = ("hf", "meta", "gguf")  # which the files themselves tell apart
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Family:
    """One architecture: what it is called, how it is configured, and where its code is.

    References have the form "package.module:name" and are resolved on first use, so that listing a thousand families
    imports none of their models. `formats` names a zoo.weights.Dialect for each format (hf, meta, gguf, ...) whose
    checkpoints are read: what translates its config and its tensors.

    `pictures` is a function (config, images, settings, spell) -> zoo.vision.Pictures: what stands for each of these
    Pillow images in a prompt, and the arguments `pixels`, ... of the model's first pass.

    `videos` is the same for videos, of which it is given the names of the files.

    Goldens, numbers that `zoo verify --golden` reruns, are files golden/*.json beside the module of the config: see
    zoo.verification.goldens.file.
    """

    name: str  # lower case, as in family=llama
    config: str  # a subclass of zoo.ModelConfig
    model: str  # a torch.nn.Module class, called as model(config)
    formats: Mapping[str, str] = field(default_factory=dict)  # name -> a zoo.weights.Dialect
    hf_types: tuple[str, ...] = ()  # the `model_type` values in config.json that are this family's
    near: Mapping[str, str] = field(default_factory=dict)  # other `model_type`s near it -> what zoo lacks for them
    pictures: str = ""  # how pictures enter prompts; empty: its models read none
    videos: str = ""  # how videos enter prompts; empty: its models read none
    summary: str = ""  # one line for lists

    def problem(self) -> str:
        """What is wrong with the record itself, in a sentence; empty: nothing that can be seen without importing."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            return f"{self.name!r} is not a family name: use lower case letters, digits, _ . -"
        for name in ("config", "model", *(name for name in ("pictures", "videos") if getattr(self, name))):
            if not _is_reference(value := getattr(self, name)):
                return f"{self.name}: {name}={value!r} is not of the form 'package.module:name'"
        for name in ("formats", "near"):
            if not _is_table(value := getattr(self, name)):
                return f"{self.name}: {name}={value!r} is not a table of texts"
        for dialect, module in self.formats.items():
            if dialect in OURS or not _MODULE.fullmatch(module.replace(":", ".", 1)):
                return f"{self.name}: formats={{{dialect!r}: {module!r}}} is not a name and a reference to a Dialect"
        if not isinstance(self.hf_types, tuple | list) or not all(isinstance(kind, str) for kind in self.hf_types):
            return f"{self.name}: hf_types={self.hf_types!r} is not a tuple of texts"
        return "" if isinstance(self.summary, str) else f"{self.name}: summary={self.summary!r} is not a text"

    @property
    def config_class(self) -> type[ModelConfig]:
        return self._imported(self.config)

    @property
    def model_class(self) -> Any:
        """The class of its modules. Importing it imports torch."""
        return self._imported(self.model)

    def build(self, config: ModelConfig) -> Any:
        """The module, on the current default device and dtype, which knows what it was built from.

        Raises ConfigError for a config with an attribute that is no field.
        """
        from zoo.anatomy.config import ModelConfig
        from zoo.anatomy.edited import refuse_strays

        refuse_strays(config)
        model = self.model_class(config)
        if isinstance(told := getattr(model, "config", None), ModelConfig):  # a stranger's may be anything
            model.__dict__["built_from"] = told.to_dict()
        return model

    def dialect(self, name: str) -> Dialect[Any]:
        """What translates one foreign format. Raises ZooError for a reference that leads to no Dialect."""
        from zoo.weights.dialect import Dialect

        found = self._imported(self.formats[name])
        if not isinstance(found, Dialect):
            module = self.formats[name].partition(":")[0]
            raise ZooError(
                f"{self.name}'s {name} format, {self.formats[name]!r}, is not a zoo.weights.Dialect",
                hint=f"end {module} with NAME = Dialect(from_config=..., to_config=..., mapping=...), and write"
                f" {name}='{module}:NAME'",
            )
        return found

    @property
    def picture_reader(self) -> Any:
        """The function that stands in `pictures`."""
        return self._imported(self.pictures)

    @property
    def video_reader(self) -> Any:
        """The function that stands in `videos`."""
        return self._imported(self.videos)

    def match(self, raw: Mapping[str, Any], dialect: str = "hf") -> Match | None:
        """How surely the foreign config `raw` is this family's; None: it is not."""
        from zoo.weights.dialect import Match

        added = [name for name in self.formats if name not in KINDS] if dialect == "hf" else []
        for name in added:  # which say for themselves whether a config.json is theirs
            if (matches := self.dialect(name).matches) and (match := matches(raw)):
                return replace(match, format=name)
        if dialect not in self.formats:
            return None
        if matches := self.dialect(dialect).matches:
            return matches(raw)
        kind = raw.get("model_type")
        return Match(1.0, (f"model_type is {kind!r}",)) if kind in self.hf_types else None

    def _imported(self, reference: str) -> Any:
        """What a reference stands for. Raises PluginError where importing it ends otherwise."""
        from importlib import import_module

        module, _, name = reference.partition(":")
        found = sys.modules.get(module)
        if found is not None and (not name or name in vars(found)):
            return vars(found)[name] if name else found
        with isolated(f"the family {self.name!r} cannot be used: {reference}"):
            return resolve_name(reference) if name else import_module(module)


def _is_reference(value: object) -> bool:
    module, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    return bool(colon and _MODULE.fullmatch(module) and _MODULE.fullmatch(name))


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)
