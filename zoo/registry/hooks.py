"""The manager of plugins, which looks for hooks among functions alone.

Pluggy asks of each name in a module whether it may be a hook, statically, so that no property runs: 465 questions for
our own plugins, a tenth of `zoo list`. What a module holds is in its dictionary, where looking runs nothing.
"""

from __future__ import annotations

from types import FunctionType, MethodType, ModuleType
from typing import Any

from pluggy import PluginManager

HOOKABLE = (FunctionType, MethodType, classmethod, staticmethod)  # as pluggy has it


class HookManager(PluginManager):
    """Pluggy's, quicker over modules."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if type(plugin) is ModuleType and not isinstance(vars(plugin).get(name), HOOKABLE):
            return None
        return super().parse_hookimpl_opts(plugin, name)
