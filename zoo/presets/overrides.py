"""Overrides as people type them, read without Hydra: shorthands made whole, wrong keys met with the right one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.fields import fields_of
from zoo.errors import UsageError, ZooError, clean, distance, nearest
from zoo.files.resources import files
from zoo.presets.hub_ids import preset_of
from zoo.presets.users_folder import UsersFolder
from zoo.registry import OURS, installed

WORD = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^=]*?)(?P<value>=.*)?", re.DOTALL)


@dataclass(frozen=True)
class Grammar:
    """What may stand left of `=`: the primary config's keys, and the groups with their options."""

    keys: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    defaults: frozenset[str]  # groups that the primary config's defaults list names

    @property
    def own_groups(self) -> list[str]:
        """Those of them that are the command's alone, and no model's."""
        return sorted(self.defaults - {"model", *self.groups}) if self.keys else []


def grammar(command: str, *, with_keys: bool = True, folder: Path | None = None) -> Grammar:
    """The grammar of conf/<command>.yaml with every plugin's groups, and those of the user's `folder`."""
    text = (files("zoo.conf") / f"{command}.yaml").read_text(encoding="utf-8")
    keys = [key for key in re.findall(r"^(\w+):", text, re.MULTILINE) if with_keys and key != "defaults"]
    defaults = re.findall(r"^ +- ([\w/]+):", text, re.MULTILINE)
    groups = {name: _merge(options) for name, options in _groups(folder).items()}
    return Grammar(tuple(keys), groups, frozenset(defaults))


def expand(
    words: Iterable[str],
    known: Grammar,
    *,
    needs_model: bool = False,
    config_class: type[ModelConfig] | None = None,
) -> list[str]:
    """What Hydra is to read: a bare word becomes `model=<word>`, a group that no defaults list names gets its `+`.

    `config_class` is the model's where no word names it. Raises UsageError for a key that nothing reads (a `+` does
    not make it right), for a second model and for none.
    """
    words = [_at_home(_whole(word, known)) for word in words]
    models = [word for word in words if word.startswith("model=") and word != "model=null"]
    if len(models) > 1:
        names = [word.removeprefix("model=").strip("'") for word in models]
        raise UsageError(f"two models: {' and '.join(names)}", hint=f"to sweep over both: -m model={','.join(names)}")

    def kind() -> type[ModelConfig]:
        return config_class or config_class_of(model_of(models))

    checked = [_checked(word, known, kind) for word in words if word != "model=null"]
    if needs_model and not models:
        raise UsageError("which model?", hint="type a name, for example: zoo build llama3 (zoo list shows all names)")
    return checked


def model_of(words: Iterable[str]) -> str | None:
    """The model that expanded overrides choose, None if they choose none or sweep over several."""
    names = [word.removeprefix("model=").strip("'\"") for word in words if word.startswith("model=")]
    return names[0] if names and names[0] and "," not in names[0] else None


def vet(words: Iterable[str], folder: Path | None = None) -> None:
    """Read the strangers' presets and options that expanded overrides choose, before Hydra does. Raises ZooError.

    Hydra is given nothing else in any case; this is to refuse them early, by the path that the user typed.
    """
    from zoo.presets.catalogue import tree
    from zoo.presets.file import option

    presets, options = installed().presets(), installed().options()
    if folder:
        own = UsersFolder(folder)
        presets, options = own.presets | presets, own.options | options
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        for name in value.split(","):
            name, group = name.strip("'\" "), key.partition("@")[0]
            if group == "model" and name in presets and presets[name].package != OURS:
                tree(name, presets, lambda: options)
            elif f"{group}/{name}" in options and options[f"{group}/{name}"].package != OURS:
                option(f"{group}/{name}", options)


def config_class_of(model: str | None) -> type[ModelConfig]:
    """The config class of a preset; that of every model where there is no such preset or its family is away."""
    from zoo.presets.catalogue import config_class, tree

    if model is None:
        return ModelConfig
    try:
        return config_class(tree(model, installed().presets())["family"])
    except ZooError:
        return ModelConfig


def _whole(word: str, known: Grammar) -> str:
    parsed = WORD.fullmatch(word)
    assert parsed is not None, "the pattern matches any text"
    sign, key, value = parsed.group("sign") or "", parsed.group("key").strip(), parsed.group("value")
    if value is None and sign != "~":
        if sign or _head(key) in ("model", *known.keys) or key in (*known.groups, *known.own_groups):
            raise UsageError(f"{word!r} has no value", hint=f"type: {word}=VALUE")
        return _whole(f"model={word}", known)
    if not key:
        raise UsageError(f"{word!r} has no key", hint="type: KEY=VALUE, for example model.num_layers=4")
    if key in ("model", *known.groups) and value and re.fullmatch(r"=[-+\d.]+|=(true|false)", value):
        value = f"='{value[1:]}'"  # to Hydra a number is no name of a config
    group = key.partition("@")[0]
    if value == "=null" and group in known.groups:
        return f"~{key}"  # Hydra 1.3's word for it
    if sign in ("", "+") and group in known.groups:
        sign = "" if key in known.defaults else "+"
    return f"{sign}{key}{value or ''}"


def _at_home(word: str) -> str:
    """`model=` with presets for the names that their weights have on the hub."""
    if not word.startswith("model=") or "/" not in word:
        return word
    return "model=" + ",".join(map(preset_of, word.removeprefix("model=").split(",")))


def _checked(word: str, known: Grammar, kind: Callable[[], type[ModelConfig]]) -> str:
    parsed = WORD.fullmatch(word)
    assert parsed is not None, "the pattern matches any text"
    key, value = parsed.group("key"), parsed.group("value") or ""
    group, at, package = key.partition("@")
    if at and group in known.groups and not package.rpartition(":")[2].startswith("model"):
        raise UsageError(f"{clean(word)!r} puts {group} where it is not used", hint=f"type: {group}@model.PART{value}")
    heads = ("model", *known.keys, *known.groups, *known.own_groups)
    if group in known.groups or (_head(key) in heads and _head(key) not in known.groups):
        return word
    raise UsageError(f"no key {clean(key)!r}", why=clean(_meant(key, value, heads, kind()), 200))


def _meant(key: str, value: str, heads: Sequence[str], kind: type[ModelConfig]) -> str:
    """What to type in place of a key that nothing reads."""
    head = _head(key)
    fields = fields_of(kind)
    if head != key and (head in heads or head in fields):
        return f"did you mean model.{key}{value}?"
    options = {name: f"{name}{key.removeprefix(head)}{value}" for name in nearest(head, heads, 1)}
    options |= {name: f"model.{name}{value}" for name in nearest(key, fields, 1) if name not in options}
    if not options:
        return f"known: {', '.join(sorted(heads))}"
    return f"did you mean {min(options.items(), key=lambda option: distance(key, option[0]))[1]}?"


def _head(key: str) -> str:
    return re.split(r"[.@/\[]", key, maxsplit=1)[0]


def _groups(folder: Path | None) -> dict[str, list[str]]:
    """The groups beside `model` and their options, the nearest package's first."""
    found: dict[str, list[str]] = {}
    for option in [*installed().options().values(), *(UsersFolder(folder).options.values() if folder else ())]:
        if not option.problem:
            found.setdefault(option.group, []).append(option.name)
    return found


def _merge(options: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(options)))
