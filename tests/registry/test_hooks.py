"""Hooks are found as pluggy finds them, and our presets are listed once."""

from __future__ import annotations

from types import ModuleType

from pluggy import PluginManager

from zoo.registry import hookimpl, preset_folder, shelf
from zoo.registry.hooks import HookManager
from zoo.registry.plugins import Registry


class Strange:
    """What a module may hold, and nobody may touch while hooks are looked for."""

    @property
    def zoo_impl(self) -> dict[str, object]:
        raise AssertionError("a property ran")


def of_all_kinds() -> ModuleType:
    module = ModuleType("of_all_kinds")
    module.zoo_families = hookimpl(lambda: [])
    module.zoo_config_packages = staticmethod(hookimpl(lambda: []))
    module.plain, module.strange, module.number, module.kind = (lambda: []), Strange(), 1, Strange
    return module


def test_of_a_module_the_same_names_are_hooks_as_for_pluggy():
    module = of_all_kinds()
    found = [
        {n: m.parse_hookimpl_opts(module, n) for n in dir(module)} for m in (HookManager("zoo"), PluginManager("zoo"))
    ]
    assert found[0] == found[1]
    assert {name for name, options in found[0].items() if options} == {"zoo_families", "zoo_config_packages"}


def test_an_object_with_hooks_is_a_plugin_too():
    class Plugin:
        @hookimpl
        def zoo_families(self) -> list[object]:
            return []

    assert HookManager("zoo").parse_hookimpl_opts(Plugin(), "zoo_families")


def test_our_folder_of_presets_is_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(
        preset_folder, "_listed", lambda folder, listed=preset_folder._listed: read.append(folder) or listed(folder)
    )
    shelf._ours.cache_clear()
    registry = Registry(points=())
    assert registry.presets() == registry.presets() != {}
    assert len(read) == len(set(read))
