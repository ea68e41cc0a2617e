"""A config says what its fields mean, and survives every form it is kept in."""

from __future__ import annotations

import json
from dataclasses import is_dataclass

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.differing import differences
from zoo.anatomy.fields import doc_of, fields_of, types_of
from zoo.testing.check import Skipped, require, shown
from zoo.testing.subject import Subject
from zoo.testing.variants import variants

SIZES = ("vocab_size", "hidden_size", "intermediate_size", "max_seq_len", "head_dim")


def every_field_is_documented(s: Subject) -> str:
    """By a comment behind it, in its class or in one that it overrides: the comment shows in `zoo show`."""
    config = s.family.config_class
    bare = [path for path, field in fields_of(config).items() if not field.doc and not _inherits_doc(config, path)]
    require(not bare, "no comment behind " + shown([f"model.{path}" for path in bare], most=9))
    return f"{len(fields_of(config))} fields"


def the_tiny_config_is_lopsided(s: Subject) -> str:
    """Sizes that differ, and heads that share: with equal sizes a transposed or swapped matrix goes unnoticed."""
    sizes = {name: getattr(s.config, name) for name in SIZES if isinstance(getattr(s.config, name, None), int)}
    equal = [f"{a} and {b} are both {n}" for a, n in sizes.items() for b, m in sizes.items() if a < b and n == m]
    require(not equal, shown(equal))
    layers = getattr(s.config, "num_layers", 2)
    require(layers >= 2, f"num_layers={layers}: layers cannot be distinguished")
    return ", ".join(f"{name}={n}" for name, n in sizes.items())


def dicts_and_JSON_keep_every_field(s: Subject) -> str:
    configs = [("", s.config), *variants(s.config)]
    lost = []
    for name, config in configs:
        back = type(config).from_dict(json.loads(json.dumps(config.to_dict())))
        lost += _lost("to_dict and from_dict", name, back, config)
    require(not lost, shown(lost))
    return f"{len(configs)} configs"


def YAML_keeps_every_field(s: Subject) -> str:
    """Through OmegaConf's typed schema, as presets and the command line go; one field of each type is changed."""
    from omegaconf import OmegaConf

    hints = types_of(s.family.config_class)
    by_type = {hints[name.partition("=")[0].partition(".")[0]]: (name, config) for name, config in variants(s.config)}
    configs = [("", s.config), *by_type.values()]
    schema = OmegaConf.structured(s.family.config_class)
    lost = []
    for name, config in configs:
        back = OmegaConf.to_object(OmegaConf.merge(schema, OmegaConf.create(OmegaConf.to_yaml(config))))
        lost += _lost("YAML", name, back, config)
    require(not lost, shown(lost))
    return f"{len(configs)} configs"


def its_anatomy_says_what_it_is(s: Subject) -> str:
    if s.anatomy is None:
        raise Skipped("it describes no anatomy, so it is measured by building it")
    require(bool(s.anatomy.traits), "anatomy().traits is empty: `zoo compare` cannot describe it")
    return ", ".join(f"{name}: {words}" for name, words in s.anatomy.traits.items())


def _lost(way: str, variant: str, back: object, config: ModelConfig) -> list[str]:
    """How a config that went through some `way` differs from what it was, by field."""
    if back == config:
        return []
    where = f"{way}, {variant or 'the tiny config'}"
    if not isinstance(back, ModelConfig):
        return [f"{where}: found a {type(back).__name__}, expected a {type(config).__name__}"]
    return [f"{where}: {told}" for told in differences(back, config)] or [f"{where}: the config is not equal to itself"]


def _inherits_doc(config: type, path: str) -> bool:
    owner, _, name = path.rpartition(".")
    if owner:
        return False  # a record documents its own fields
    return any(doc_of(base, name) for base in config.__mro__ if is_dataclass(base))


PROPERTIES = (
    every_field_is_documented,
    the_tiny_config_is_lopsided,
    dicts_and_JSON_keep_every_field,
    YAML_keeps_every_field,
    its_anatomy_says_what_it_is,
)
