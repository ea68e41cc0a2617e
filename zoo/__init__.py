"""zoo: a plugin-based registry of language and vision-language models that never loads a wrong model quietly.

The names below mirror the commands. Those that need torch or Hydra are resolved on first use (PEP 562), so that
`import zoo` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.version import __version__

_LAZY = {  # public name -> the module that defines it
    # Modules are nouns and functions verbs: a module called `build` would shadow `zoo.build` once imported.
    "Command": "zoo.registry",
    "Family": "zoo.registry",
    "Format": "zoo.registry",
    "Match": "zoo.weights",
    "hookimpl": "zoo.registry",
    "MISSING": "zoo.anatomy.config",
    "ModelConfig": "zoo.anatomy.config",
    "RopeConfig": "zoo.anatomy.config",
    "list_models": "zoo.presets",
    "compose": "zoo.presets.composition",
    "compare": "zoo.comparison",
    "diff": "zoo.difference",
    "verify": "zoo.verification",
    "rerun_goldens": "zoo.verification",
    "bench": "zoo.measurement",
    "evaluate": "zoo.measurement",
    "embed": "zoo.embedding",
    "classify": "zoo.embedding",
    "build": "zoo.models.construction",
    "inspect": "zoo.checkpoint.inspection",
    "Ledger": "zoo.checkpoint.inspection",
    "load": "zoo.checkpoint.loading",
    "from_pretrained": "zoo.checkpoint.loading",
    "model_class": "zoo.models.construction",
    "pull": "zoo.checkpoint.pulling",
    "push": "zoo.checkpoint.pushing",
    "Push": "zoo.checkpoint.pushing",
    "Pretrained": "zoo.models.pretrained",
    "save": "zoo.checkpoint.saving",
    "convert": "zoo.checkpoint.conversion",
    "quantize": "zoo.checkpoint.quantising",
    "generate": "zoo.generation",
    "stream": "zoo.generation",
    "GenerationConfig": "zoo.generation",
    "Tokenizer": "zoo.text",
    "illustrate": "zoo.vision.illustration",
}

__all__ = [
    "MISSING", "Command", "Family", "Format", "GenerationConfig", "Ledger", "Match", "ModelConfig", "Pretrained",
    "Push", "RopeConfig", "Tokenizer", "ZooError", "__version__", "bench", "build", "classify", "compare", "compose",
    "convert", "diff", "embed", "evaluate", "from_pretrained", "generate", "hookimpl", "illustrate", "inspect",
    "list_models", "load", "model_class", "pull", "push", "quantize", "rerun_goldens", "save", "stream", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from zoo.anatomy.config import MISSING, ModelConfig, RopeConfig
    from zoo.checkpoint.conversion import convert
    from zoo.checkpoint.inspection import Ledger, inspect
    from zoo.checkpoint.loading import from_pretrained, load
    from zoo.checkpoint.pulling import pull
    from zoo.checkpoint.pushing import Push, push
    from zoo.checkpoint.quantising import quantize
    from zoo.checkpoint.saving import save
    from zoo.comparison import compare
    from zoo.difference import diff
    from zoo.embedding import classify, embed
    from zoo.generation import GenerationConfig, generate, stream
    from zoo.measurement import bench, evaluate
    from zoo.models.construction import build, model_class
    from zoo.models.pretrained import Pretrained
    from zoo.presets import list_models
    from zoo.presets.composition import compose
    from zoo.registry import Command, Family, Format, hookimpl
    from zoo.text import Tokenizer
    from zoo.verification import rerun_goldens, verify
    from zoo.vision.illustration import illustrate
    from zoo.weights import Match
