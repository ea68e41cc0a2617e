"""What a reader finds before the code: a summary, and a docstring on everything public."""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import resolve_name
from types import ModuleType

from zoo.testing.check import require, shown
from zoo.testing.subject import Subject


def the_family_has_a_summary(s: Subject) -> str:
    """One line for `zoo list`."""
    summary = s.family.summary
    require(bool(summary.strip()), "Family.summary is empty")
    require("\n" not in summary, f"Family.summary is {len(summary.splitlines())} lines")
    return summary


def its_modules_have_docstrings(s: Subject) -> str:
    modules = _modules(s)
    bare = [module.__name__ for module in modules if not (module.__doc__ or "").strip()]
    require(not bare, f"no docstring in {shown(bare)}")
    return f"{len(modules)} modules"


def its_public_classes_have_docstrings(s: Subject) -> str:
    classes = [
        owner
        for module in _modules(s)
        for name, owner in inspect.getmembers(module, inspect.isclass)
        if owner.__module__ == module.__name__ and not name.startswith("_")
    ]
    # A dataclass without one is given its signature for a docstring.
    bare = [c.__name__ for c in classes if not c.__doc__ or c.__doc__.startswith(f"{c.__name__}(")]
    require(not bare, f"no docstring on {shown(bare)}")
    return f"{len(classes)} classes"


def _modules(s: Subject) -> list[ModuleType]:
    classes = (s.family.config_class, resolve_name(s.family.model))
    names = [c.__module__ for c in classes] + [s.family.formats[name].partition(":")[0] for name in s.family.formats]
    return [import_module(name) for name in dict.fromkeys(names)]


PROPERTIES = (the_family_has_a_summary, its_modules_have_docstrings, its_public_classes_have_docstrings)
