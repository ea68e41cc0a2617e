"""The pages of the Python reference: which names are public, for mkdocstrings to read from the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import FunctionType
from typing import Any

import zoo
from zoo import _LAZY
from zoo.anatomy.fields import doc_of
from zoo.registry.family import Family

from .words import table

# Page -> its title, the module whose __all__ it lists, and what stands above the names.
PAGES = {
    "python": ("Python", "zoo", "The names of `import zoo`. Those that need torch are imported on first use."),
    "blocks": ("Blocks", "zoo.nn", "What families are assembled from: `from zoo.nn import Attention`."),
    "weights": (
        "Weight tables", "zoo.weights",
        "What a dialect is written with: `from zoo.weights import rename`. Importing them needs no torch.",
    ),
    "generation": ("Generation", "zoo.generation", "`from zoo.generation import stream`."),
    "testing": ("Testing", "zoo.testing", "The contract that every family is held to."),
    "description": ("Anatomy", "zoo.anatomy", "How a config says what its model is made of, without torch."),
}  # fmt: skip

HOOKS = """# Hooks

Four [pluggy](https://pluggy.readthedocs.io) hooks are the whole contract between the registry and a plugin. They are
marked with `@zoo.hookimpl` in the module that an entry point of the group `zoo` names. That module must be light:
`zoo list` imports it, and no torch with it.

::: zoo.registry.hookspecs.zoo_families

::: zoo.registry.hookspecs.zoo_config_packages

::: zoo.registry.hookspecs.zoo_formats

::: zoo.registry.hookspecs.zoo_commands

::: zoo.registry.additions.Format

::: zoo.registry.additions.Command

::: zoo.registry.family.Family

Its fields:

"""


def pages() -> dict[str, str]:
    """Markdown by page name."""
    hooks = f"{HOOKS}{_family_fields()}\n::: zoo.weights.dialect.Match\n"
    return {"hooks": hooks} | {name: _page(*entry) for name, entry in PAGES.items()}


def public(module: str) -> dict[str, str]:
    """Public name -> where it is defined, dotted."""
    owner: Any = import_module(module)
    names = getattr(owner, "__all__", None) or [n for n, v in vars(owner).items() if _is_own(v, module, n)]
    if module == "zoo":  # what __all__ has not caught up with is public all the same
        names = sorted({*names, *_LAZY})
    return {name: f"{_module(owner, module, name)}.{name}" for name in names if not name.startswith("__")}


def _family_fields() -> str:
    rows = [
        [f"`{f.name}`", "" if f.default is MISSING and f.default_factory is MISSING else "no", doc_of(Family, f.name)]
        for f in fields(Family)
    ]
    return table(["field", "must be given", "meaning"], [[name, must or "yes", doc] for name, must, doc in rows])


def _page(title: str, module: str, lead: str) -> str:
    parts = [f"# {title}\n\n{lead}\n"]
    for name, path in sorted(public(module).items(), key=lambda pair: pair[0].lower()):
        parts.append(f'::: {path}\n    options:\n      heading: "{module}.{name}"\n')
    return "\n".join(parts)


def _module(owner: Any, module: str, name: str) -> str:
    """The module in whose source the name gets its value."""
    if owner is zoo and name in _LAZY:
        module, owner = _LAZY[name], import_module(_LAZY[name])
    value = getattr(owner, name)
    home = getattr(value, "__module__", "")
    if isinstance(value, type | FunctionType) and home.startswith("zoo.") and getattr(value, "__name__", "") == name:
        return home
    return next((m for m in (module, *_inner(module)) if _assigns(m, name)), module)


def _inner(module: str) -> Iterator[str]:
    path = getattr(import_module(module), "__path__", ())
    yield from (f"{module}.{info.name}" for info in iter_modules(path))


def _assigns(module: str, name: str) -> bool:
    file = import_module(module).__file__
    source = Path(file).read_text(encoding="utf-8") if file else ""
    return any(line.startswith((f"{name} =", f"{name}: ")) for line in source.splitlines())


def _is_own(value: Any, module: str, name: str) -> bool:
    return not name.startswith("_") and getattr(value, "__module__", None) == module
