"""The page of the names of zoo that plugins may rely on: what the contract holds every plugin to."""

from __future__ import annotations

from importlib import import_module

from zoo.testing.imports import PUBLIC

LEAD = {
    "en": """# What a plugin may import

These modules and the names below, and nothing else of zoo: they keep their places and meanings, and a change of one
is told in the changelog. Everything else may be moved or renamed in any version. `zoo check-plugin NAME` says where a
plugin imports more.

Formats were modules once, named `"pkg.hf"`. End such a module with
`NAME = Dialect(from_config=..., to_config=..., mapping=...)` and name it `"pkg.hf:NAME"`.
""",
    "zh": """# 插件可以导入什么

只有下列模块及其中列出的名字：它们的位置和含义保持不变，若有改动会写进更新日志。zoo 的其他部分在任何版本里都可能移动或改名。`zoo check-plugin NAME` 会指出插件多导入了什么。

格式以前是写成 `"pkg.hf"` 的模块。现在请在该模块末尾加上 `NAME = Dialect(from_config=..., to_config=..., mapping=...)`，并写成 `"pkg.hf:NAME"`。
""",
}


def page(language: str) -> str:
    """Every public module with its first line and its names."""
    return LEAD[language] + "".join(_section(module) for module in PUBLIC)


def _section(module: str) -> str:
    found = import_module(module)
    names = ", ".join(f"`{name}`" for name in found.__all__ if not name.startswith("__"))
    return f"\n## {module}\n\n{(found.__doc__ or '').partition(chr(10))[0]}\n\n{names}\n"
