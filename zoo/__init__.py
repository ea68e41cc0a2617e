"""zoo: a plugin-based registry of language and vision-language models that never loads a wrong model quietly.

The names below mirror the commands. Those that need torch or Hydra are resolved on first use (PEP 562), so that
`import zoo` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.family import Family, Match
from zoo.hookspecs import hookimpl

__version__ = "0.1.0"

_LAZY = {  # public name -> the module that defines it
    # Modules are nouns and functions verbs: a module called `build` would shadow `zoo.build` once imported.
    "MISSING": "zoo.config",
    "ModelConfig": "zoo.config",
    "RopeConfig": "zoo.config",
    "list_models": "zoo.presets",
    "compose": "zoo.composition",
    "compare": "zoo.comparison",
    "verify": "zoo.verification",
    "rerun_goldens": "zoo.verification",
    "bench": "zoo.measurement",
    "evaluate": "zoo.measurement",
    "build": "zoo.construction",
    "inspect": "zoo.inspection",
    "load": "zoo.loading",
    "from_pretrained": "zoo.loading",
    "model_class": "zoo.construction",
    "pull": "zoo.pulling",
    "push": "zoo.pushing",
    "Pretrained": "zoo.pretrained",
    "save": "zoo.saving",
    "convert": "zoo.conversion",
    "generate": "zoo.generation",
    "illustrate": "zoo.illustration",
}

__all__ = [
    "MISSING", "Family", "Match", "ModelConfig", "Pretrained", "RopeConfig", "ZooError", "__version__", "bench",
    "build", "compare", "compose", "convert", "evaluate", "from_pretrained", "generate", "hookimpl", "illustrate",
    "inspect", "list_models", "load", "model_class", "pull", "push", "rerun_goldens", "save", "verify",
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
    from zoo.comparison import compare
    from zoo.composition import compose
    from zoo.config import MISSING, ModelConfig, RopeConfig
    from zoo.construction import build, model_class
    from zoo.conversion import convert
    from zoo.generation import generate
    from zoo.illustration import illustrate
    from zoo.inspection import inspect
    from zoo.loading import from_pretrained, load
    from zoo.measurement import bench, evaluate
    from zoo.presets import list_models
    from zoo.pretrained import Pretrained
    from zoo.pulling import pull
    from zoo.pushing import push
    from zoo.saving import save
    from zoo.verification import rerun_goldens, verify
