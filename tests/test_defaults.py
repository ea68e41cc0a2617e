"""A default is a promise: what nobody says means the same tomorrow, and opens no door."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from zoo.registry import DISTRIBUTION, installed

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("defaults.json")
OURS = sorted(name for name in installed().families if installed().origin[name].distribution == DISTRIBUTION)

# Everything in zoo/ that is on unless it is switched off, as owner.name; whatever else is a yes or no is off.
ON = set(
    "AttentionSpec.is_causal Axis.is_log Description._is_of_text Key.is_told Mask.is_causal Processing.is_resized "
    "RopeConfig.truncate Search.can_improve Source.is_explicit __init__.bias __init__.has_bias "
    "__init__.has_class_token __init__.is_renormalised attends.is_cached attends.is_causal "
    "decode.skip_special_tokens decode_stream.skip_special_tokens describe_layers.has_qkv_bias "
    "describe_trunk.is_causal encode.add_special_tokens encode_chat.add_generation_prompt "
    "encode_with_offsets.add_special_tokens grammar.with_keys key.is_told mlp.bias overrides.with_keys "
    "parse_json.allow_infinity render_chat.add_generation_prompt table.truncate vision_layer.has_qkv_bias".split()
)
DOORS = {"allow_pickle", "allow_network", "force", "dry_run", "private", "gated", "local_files_only"}


def switches() -> Iterator[tuple[str, bool]]:
    """Every parameter and field of zoo/ with True or False for its default."""
    for file in (ROOT / "zoo").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found: list[tuple[str, ast.expr | None]] = []
            if isinstance(node, ast.FunctionDef):
                args = node.args
                found += zip([a.arg for a in args.args[::-1]], args.defaults[::-1], strict=False)
                found += zip([a.arg for a in args.kwonlyargs], args.kw_defaults, strict=True)
            elif isinstance(node, ast.ClassDef):
                declared = [s for s in node.body if isinstance(s, ast.AnnAssign)]
                found += [(s.target.id, s.value) for s in declared if isinstance(s.target, ast.Name)]
            for name, value in found:
                if isinstance(value, ast.Constant) and isinstance(value.value, bool):
                    yield f"{node.name}.{name}", value.value  # type: ignore[attr-defined]


@pytest.mark.slow
def test_what_is_not_switched_on_is_off() -> None:
    found = list(switches())
    assert {name for name, value in found if value} == ON
    doors = {name.rpartition(".")[2] for name, _ in found} & DOORS
    assert doors == DOORS, "a door is no longer there, or its name is another"


def defaults(record: type) -> dict[str, Any]:
    """A config's fields with what they are where a preset says nothing, those of its records among them."""
    made: dict[str, Any] = {}
    for field in fields(record):
        value = field.default if field.default_factory is MISSING else field.default_factory()
        if is_dataclass(value) and not isinstance(value, type):
            made |= {f"{field.name}.{name}": inner for name, inner in defaults(type(value)).items()}
        elif value is not MISSING and value != "???":
            made[field.name] = value
    return made


def all_defaults() -> dict[str, dict[str, Any]]:
    return {name: defaults(installed()[name].config_class) for name in OURS}


@pytest.mark.parametrize("name", OURS)
def test_a_field_that_no_preset_names_has_the_value_it_had(name: str) -> None:
    """Changing one changes every preset and saved override that leaves it out; then write the file anew, and say so."""
    assert json.loads(json.dumps(all_defaults()[name])) == json.loads(FILE.read_text(encoding="utf-8"))[name]


if __name__ == "__main__":
    lines = [f" {json.dumps(name)}: {json.dumps(values)}" for name, values in all_defaults().items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
