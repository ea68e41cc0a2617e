"""The record that a plugin hands the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.anatomy.config import ModelConfig
    from zoo.weights.dialect import Dialect, Match


@dataclass(frozen=True)
class Family:
    """One architecture: what it is called, how it is configured, and where its code is.

    References have the form "package.module:name" and are resolved on first use, so that listing a thousand families
    imports none of their models. `formats` names a zoo.weights.Dialect for each format (hf, meta, gguf, ...) whose
    checkpoints are read: what translates its config and its tensors.

    `pictures` is a function (config, images, settings, spell) -> zoo.vision.Pictures: what stands for each of these
    Pillow images in a prompt, and the arguments `pixels`, ... of the model's first pass.

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
    summary: str = ""  # one line for lists

    @property
    def config_class(self) -> type[ModelConfig]:
        return resolve_name(self.config)

    def build(self, config: ModelConfig) -> Any:
        """The module, on the current default device and dtype."""
        return resolve_name(self.model)(config)

    def dialect(self, name: str) -> Dialect[Any]:
        """What translates one foreign format. Raises ZooError for a reference that leads to no Dialect."""
        from zoo.weights.dialect import Dialect

        found = resolve_name(self.formats[name])
        if not isinstance(found, Dialect):
            module = self.formats[name].partition(":")[0]
            raise ZooError(
                f"{self.name}'s {name} format, {self.formats[name]!r}, is no zoo.weights.Dialect",
                hint=f"end {module} with NAME = Dialect(from_config=..., to_config=..., mapping=...), and write"
                f" {name}='{module}:NAME'",
            )
        return found

    def match(self, raw: Mapping[str, Any], dialect: str = "hf") -> Match | None:
        """How surely the foreign config `raw` is this family's; None: it is not."""
        from zoo.weights.dialect import Match

        if dialect not in self.formats:
            return None
        if matches := self.dialect(dialect).matches:
            return matches(raw)
        kind = raw.get("model_type")
        return Match(1.0, (f"model_type is {kind!r}",)) if kind in self.hf_types else None
