"""What Hydra and OmegaConf complain of, in the words of zoo."""

from __future__ import annotations

import re
from dataclasses import is_dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, errors

from zoo.anatomy.fields import doc_of, fields_of
from zoo.errors import UsageError, ZooError, clean
from zoo.presets.mistakes import bad_value, no_config, no_key, several_values, unreadable
from zoo.registry import installed

UNREADABLE: dict[str, str] = {}  # family -> why its config class is no schema


def translate(error: Exception) -> ZooError:
    """What a user did to make Hydra or OmegaConf raise `error`, and what to type instead."""
    if isinstance(error, MissingConfigException):
        return _missing(error)
    if isinstance(error, OverrideParseException):
        lines = [line for line in error.message.splitlines() if not line.startswith(("Error parsing", "See http"))]
        return unreadable(error.override, lines[0].partition(" expecting ")[0] if lines else "")
    cause = error.__cause__ or error.__context__
    for found in (error, cause):
        if isinstance(found, errors.ConfigKeyError | errors.ConfigAttributeError) and found.full_key:
            return _unknown_key(found, error)
        if isinstance(found, errors.ValidationError):
            return _bad_value(found, error)
        if isinstance(found, errors.MissingMandatoryValue):
            return UsageError(f"{found.full_key} has no value", hint=f"type: {found.full_key}=VALUE")
    if sweep := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'(?: requires|\n)", str(error)):
        return _sweep(sweep[1])
    if taken := re.match(r"Error merging override ~(model\.[\w.]+)", str(error)):
        return UsageError(f"'~{taken[1]}': a field cannot be removed", hint=f"give it a value: {taken[1]}=VALUE")
    return UsageError(clean((str(error) or str(cause)).partition("\n")[0], 300), why=_where(error))


def _missing(error: MissingConfigException) -> ZooError:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    options = set(error.options or ())
    if group == "schema":
        if name in UNREADABLE:
            return ZooError(f"the config of family {name!r} cannot be read", why=UNREADABLE[name])
        try:
            installed()[name]
        except ZooError as reason:
            return reason
    if group == "model" or group.startswith("model/"):
        group, name = "model", f"{group}/{name}".removeprefix("model/")
        options |= set(installed().presets())
    return no_config(name, group, options)


def _unknown_key(found: errors.ConfigKeyError | errors.ConfigAttributeError, error: Exception) -> ZooError:
    node, kind, key = found.parent_node, found.object_type, str(found.key)
    known = [str(name) for name in node] if isinstance(node, DictConfig) else []
    if isinstance(kind, type) and is_dataclass(kind):
        known = list(fields_of(kind))
    path = str(found.full_key).removesuffix(key).rstrip(".")
    return no_key(path, key, known, where=_mixable(path, key, error) or _where(error))


def _bad_value(found: errors.ValidationError, error: Exception) -> ZooError:
    kind = found.object_type
    doc = doc_of(kind, str(found.key)) if isinstance(kind, type) and is_dataclass(kind) else ""
    return bad_value(str(found).partition("\n")[0], str(found.full_key), doc, where=_where(error))


def _mixable(path: str, key: str, error: Exception) -> str:
    """Where an option group may be chosen that sets `model.<key>`, a part that the chosen family has not."""
    found = re.match(r"In '(\w+)/(\w+)': \w+ raised while composing", str(error))
    if path != "model" or not found:
        return ""
    presets, registry = installed().presets(), installed()
    able = [f.name for f, kind in registry.each(lambda f: f.config_class) if key in fields_of(kind)]
    names = [name for name in presets if name.partition("/")[0] in able]
    if not names:
        return ""
    example = next((name for name in names if name.endswith("/llama3")), names[0])
    return f"parts can be chosen in {', '.join(able)}, for example: {example} {found[1]}={found[2]}"


def _sweep(override: str) -> ZooError:
    parsed = OverridesParser.create().parse_override(override)
    count = len(list(parsed.sweep_iterator())) if parsed.is_discrete_sweep() else 0
    return several_values(parsed.get_key_element(), count)


def _where(error: Exception) -> str:
    """The preset that an error stands in, where it is not the command line."""
    found = re.match(r"In '(.+?)': \w+ raised while composing", str(error))
    return f"it is in {clean(found[1])}.yaml" if found else ""
