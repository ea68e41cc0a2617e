"""How a family comes in: light to import, whole when used, and known by its own configs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from torch import nn

from zoo.anatomy.config import ModelConfig
from zoo.errors import UsageError
from zoo.registry import GROUP, installed
from zoo.testing.check import Broken, Skipped, require, shown
from zoo.testing.subject import Subject

HEAVY = ("torch", "transformers", "hydra", "omegaconf", "huggingface_hub")
TRANSLATING = ("torch", "transformers")  # what reading a checkpoint's headers must do without


def its_plugin_is_light_to_import(s: Subject) -> str:
    """Listing families imports every plugin, so that one heavy plugin would make `zoo list` slow for all."""
    point = entry_point(s)
    if point is None:
        raise Skipped("no entry point of the group 'zoo' names its plugin")
    found = heavy_imports([point.module], HEAVY)
    require(not found, f"{shown(found)}; import it inside the functions that need it")
    return point.module


def its_config_and_formats_need_no_torch(s: Subject) -> str:
    """A checkpoint is inspected without torch."""
    modules = [reference.partition(":")[0] for reference in (s.family.config, *s.family.formats.values())]
    found = heavy_imports(modules, TRANSLATING)
    require(not found, shown(found))
    return ", ".join(modules)


def its_references_resolve(s: Subject) -> str:
    from pkgutil import resolve_name

    config, model = s.family.config_class, resolve_name(s.family.model)
    require(isinstance(config, type) and issubclass(config, ModelConfig), f"{s.family.config} is not a ModelConfig")
    require(isinstance(model, type) and issubclass(model, nn.Module), f"{s.family.model} is not a torch.nn.Module")
    for name in s.family.formats:
        s.family.dialect(name)  # which says what a Dialect lacks, or that it is none
    return f"a config, a model and {len(s.family.formats)} formats"


def its_config_names_it(s: Subject) -> str:
    found = s.config.family
    require(found == s.family.name, f"model.family is {found!r}, the family is registered as {s.family.name!r}")
    return found


def its_own_foreign_config_is_recognised(s: Subject) -> str:
    """What it writes for Hugging Face is claimed by it, and by no other family as surely."""
    if "hf" not in s.family.formats:
        raise Skipped("it has no hf format")
    try:
        raw = s.family.dialect("hf").to_config(s.config)
    except UsageError as error:
        raise Skipped(f"it does not write hf: {error}") from None
    claims = installed().detect(raw)
    mine = next((match for family, match in claims if family.name == s.family.name), None)
    if mine is None:
        raise Broken(f"it does not recognise a config of model_type {raw.get('model_type')!r} that it wrote itself")
    rivals = [f.name for f, match in claims if f.name != s.family.name and match.score >= mine.score]
    require(not rivals, f"it is recognised with the same score by {', '.join(rivals)}")
    return "; ".join(mine.reasons)


def entry_point(s: Subject) -> EntryPoint | None:
    """The entry point that the family's plugin was loaded from."""
    plugin = installed().origin.get(s.family.name)
    for point in entry_points(group=GROUP):
        if plugin and point.dist and (point.name, point.dist.name) == (plugin.name, plugin.distribution):
            return point
    return None


def heavy_imports(modules: Iterable[str], heavy: Iterable[str]) -> list[str]:
    """'MODULE imports PACKAGE' for the first of the packages that a fresh process importing the modules reaches for."""
    words = [sys.executable, "-c", WATCH, " ".join(heavy), *modules]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if child.returncode:
        raise Broken(f"importing {', '.join(modules)}: {child.stderr.strip().splitlines()[-1]}")
    return child.stdout.splitlines()


WATCH = """
import importlib, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            print(f"{module} imports {name.partition('.')[0]}", flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""

PROPERTIES = (
    its_plugin_is_light_to_import,
    its_config_and_formats_need_no_torch,
    its_references_resolve,
    its_config_names_it,
    its_own_foreign_config_is_recognised,
)
