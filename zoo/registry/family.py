"""The record that a plugin hands the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.anatomy.config import ModelConfig


@dataclass(frozen=True)
class Match:
    """How surely a config belongs to a family: a score from 0 to 1, and what it rests on."""

    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """One architecture: what it is called, how it is configured, and where its code is.

    References have the form "package.module:name" and are resolved on first use, so that listing a thousand
    families imports none of their models. `formats` names a module per dialect (hf, meta, gguf, ...) with

        matches(raw) -> Match | None      does this foreign config describe this family?  (default: by `hf_types`)
        from_config(raw) -> ModelConfig   reads a zoo.weights.ForeignConfig, accounting for every key
        to_config(config) -> dict         the foreign config again
        mapping(config) -> Table          which of our weights each foreign tensor is
        FILES                             (config, pickle) names of what it writes; None: it is read only  (optional)
        mapping_of(config, tensors)       the same for given files, where the layout depends on them  (optional)

    None of these may import torch: inspecting a checkpoint needs none of it.

    `pictures` is a function (config, images, settings, spell) -> zoo.vision.Pictures: what stands for each of these
    Pillow images in a prompt, and the arguments `pixels`, ... of the model's first pass.

    Goldens, numbers that `zoo verify --golden` reruns, are files golden/*.json beside the module of the config: see
    zoo.verification.goldens.file.
    """

    name: str  # lower case, as in family=llama
    config: str  # a subclass of zoo.ModelConfig
    model: str  # a torch.nn.Module class, called as model(config)
    formats: Mapping[str, str] = field(default_factory=dict)  # dialect -> the module that translates it
    hf_types: tuple[str, ...] = ()  # the `model_type` values in config.json that are this family's
    near: Mapping[str, str] = field(default_factory=dict)  # other `model_type`s near it -> what zoo lacks for them
    pictures: str = ""  # how pictures enter prompts; empty: its models read none
    summary: str = ""  # one line for lists

    @property
    def config_class(self) -> type[ModelConfig]:
        return resolve_name(self.config)

    def build(self, config: ModelConfig) -> Any:
        """The module, on the current default device and dtype."""
        return resolve_name(self.model)(config)

    def dialect(self, name: str) -> Any:
        """The module that translates one foreign format."""
        return import_module(self.formats[name])

    def match(self, raw: Mapping[str, Any], dialect: str = "hf") -> Match | None:
        """How surely the foreign config `raw` is this family's; None: it is not."""
        if dialect not in self.formats:
            return None
        if matches := getattr(self.dialect(dialect), "matches", None):
            return matches(raw)
        kind = raw.get("model_type")
        return Match(1.0, (f"model_type is {kind!r}",)) if kind in self.hf_types else None
