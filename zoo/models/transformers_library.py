"""transformers, opened in one place: it reads the files of a folder, and nothing that these name beside themselves.

`auto_map` names code, `_attn_implementation` and `_experts_implementation` name kernels of the hub, adapter_config.json
names the weights of another model. None of them is followed, nor does anything ask a question or connect. No other
module calls `from_pretrained` or `from_config`.
"""

from __future__ import annotations

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
