"""transformers, opened in one place: it reads the files of a folder, and nothing that these name beside themselves.

`auto_map` names code, `_attn_implementation` and `_experts_implementation` name kernels of the hub, adapter_config.json
names the weights of another model. None of them is followed, nor does anything ask a question or connect. No other
module calls `from_pretrained` or `from_config`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.errors import MissingExtra, ZooError, clean

ADAPTER = "adapter_config.json"
CHOICES = ("_attn_implementation", "_experts_implementation")  # a folder may not say which code computes it


def library(purpose: str) -> ModuleType:
    """The package. Raises MissingExtra where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise MissingExtra("transformers", "reference", purpose) from None
    return transformers


def read_config(folder: Path) -> Any:
    """The config of a folder, in the library's own class."""
    import transformers

    config: Any = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    for name in CHOICES:
        setattr(config, name, None)  # for its parts too
    return config


def read_model(kind: Any, folder: Path, config: Any = None, **options: Any) -> Any:
    """What `kind`, a class of the library, makes of a folder; of its config, or of `config`.

    Raises ZooError for a folder with an adapter, which the library would add to the model, and whatever it raises.
    """
    if (folder / ADAPTER).exists():
        raise ZooError(f"{folder / ADAPTER}: transformers would add the adapter to the model, but zoo does not")
    if config is not None:
        options["config"] = config
    elif "gguf_file" not in options:
        options["config"] = read_config(folder)
    return kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **options)


def make_model(kind: Any, config: Any, **options: Any) -> Any:
    """What `kind` makes of a config, its weights drawn at random."""
    return kind.from_config(config, trust_remote_code=False, **options)


def first_line(error: Exception) -> str:
    """What a third party's error says, short and safe to print."""
    if "trust_remote_code" in str(error) or "custom code" in str(error):
        return "it has no class for this model, only code next to the weights, which zoo does not run"
    return clean((str(error).strip() or type(error).__name__).splitlines()[0], 200)


def version() -> str:
    """The library's."""
    return library("a model of a family that zoo does not have").__version__


def config_class(model_type: str) -> Any:
    """The class of configs of a type; None for one that the library does not have."""
    transformers = library(f"reading {clean(repr(model_type))}, a family that zoo does not have,")
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return getattr(transformers, CONFIG_MAPPING_NAMES.get(model_type, ""), None)


def keys_of(kind: Any) -> set[str]:
    """The keys that a class of configs, or its models, read: fields, arguments, other names of them, attributes."""
    named = (
        {*inspect.signature(kind.__init__).parameters} | {f.name for f in fields(kind)} if is_dataclass(kind) else set()
    )
    named |= {*inspect.signature(kind.__init__).parameters} | {*getattr(kind, "attribute_map", {})}
    named |= {*re.findall(r"config\.([a-z]\w*)", inspect.getsource(_models_of(kind)))}
    return {*named, *getattr(kind, "attribute_map", {}).values(), *kind().to_dict()} - {"self", "kwargs", "args"}


def _models_of(kind: Any) -> Any:
    """The module of the models that are made of such a config."""
    return import_module(kind.__module__.replace(".configuration_", ".modeling_"))


def classes_of(kind: Any) -> list[str]:
    """The names of the library's classes of models that are made of such a config."""
    module = _models_of(kind)
    named = ((name, getattr(module, name)) for name in getattr(module, "__all__", ()))
    made = [name for name, found in named if getattr(found, "config_class", None) is kind]
    return [name for name in made if not name.endswith("PreTrainedModel")]


def built(architecture: str, raw: Mapping[str, Any]) -> Any:
    """The library's class of this name, of a config, without weights: nothing is drawn, nothing fetched."""
    transformers = library("a model of a family that zoo does not have")
    from transformers.initialization import no_init_weights

    kind: Any = getattr(transformers, architecture)
    read = kind.config_class._decode_special_floats({name: value for name, value in raw.items() if name != "auto_map"})
    config = kind.config_class.from_dict(read)
    parts = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", ()))]
    for part in filter(None, parts):
        part._attn_implementation = "eager"  # a file may not say which code computes it; this one every class has
        part._experts_implementation = "eager"  # the other kernels refuse float64
    with no_init_weights():
        model = kind(config)
    model.tie_weights()
    return model.eval()


def conversions(model: Any, state: Mapping[str, Any]) -> tuple[Callable[[str], tuple[str, str | None]], dict[str, Any]]:
    """How the library renames a tensor of a file, with the pattern of a merge that it goes into, and those merges."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    found = get_model_conversion_mapping(model)
    renamings = [entry for entry in found if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in found if isinstance(entry, WeightConverter)]
    prefix, there = model.base_model_prefix, dict(state)

    def rename(name: str) -> tuple[str, str | None]:
        new, pattern = rename_source_key(name, renamings, converters, prefix, there)
        if new not in there and name in there:
            new, pattern = rename_source_key(name, [], [], base_model_prefix=prefix, meta_state_dict=there)
        return new, pattern

    return rename, {pattern: converter for converter in converters for pattern in converter.source_patterns}
