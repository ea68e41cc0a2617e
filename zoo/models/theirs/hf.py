"""A folder of Hugging Face's as transformers reads it: every key known to its config class, every tensor to its model.

Imports transformers when a checkpoint is read that no family of zoo's claims, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from zoo.errors import CheckpointError, ZooError, clean, did_you_mean
from zoo.files.tensor_info import TensorInfo
from zoo.models.theirs.config import TransformersConfig
from zoo.weights.dialect import Dialect, Match
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.foreign.group import group
from zoo.weights.table import Table

GIVEN_UP = "its arithmetic is not proved by zoo, each new token reads the whole text again, and it cannot be exported"


def matches(raw: Mapping[str, Any]) -> Match | None:
    """The least of claims, on what transformers has a class for."""
    kind = raw.get("model_type")
    if not isinstance(kind, str) or find_spec("transformers") is None:
        return None
    from zoo.models.transformers_library import config_class, version

    if config_class(kind) is None:
        return None
    return Match(0.0, (f"zoo has no family for {kind!r}; by transformers {version()}",))


def from_config(hf: ForeignConfig) -> TransformersConfig:
    with answering(hf.file):
        return _from_config(hf)


def _from_config(hf: ForeignConfig) -> TransformersConfig:
    from zoo.models.transformers_library import config_class, version

    kind = config_class(str(hf["model_type"]))
    if kind is None:
        raise CheckpointError(hf.file, "model_type", f"{clean(repr(hf['model_type']))} is not known to transformers")
    hf.require(is_encoder_decoder=False)
    _know(hf, kind)
    architecture = _class_of(hf, kind)
    hf.told["model_type"] = f"{architecture} by transformers {version()}: {GIVEN_UP}"
    return TransformersConfig(**hf.tokens(), architecture=architecture, raw=dict(hf.raw))


def _know(hf: ForeignConfig, kind: Any) -> None:
    """Take the keys of a config, and of the groups in it, that its class knows; others are refused by the caller."""
    from zoo.models.transformers_library import keys_of

    parts = getattr(kind, "sub_configs", {})
    known = keys_of(kind)
    hf.asked |= known
    hf.used |= hf.raw.keys() & known - {"auto_map"}
    for name in parts.keys() & hf.raw.keys():
        if isinstance(hf.raw[name], Mapping):
            inner = group(hf, name)
            if (part := _part(parts[name], inner)) is None:
                raise CheckpointError(hf.file, name, "transformers has no class for this group of keys")
            _know(inner, part)


def _part(kind: Any, inner: ForeignConfig) -> Any:
    """The class of a group of keys: its own, or that of the type that it names."""
    from zoo.models.transformers_library import config_class

    return kind if hasattr(kind, "attribute_map") else config_class(str(inner.raw.get("model_type")))


def _class_of(hf: ForeignConfig, kind: Any) -> str:
    """The class that `architectures` names, which must be one of this kind's; else that of its language models."""
    from zoo.models.transformers_library import classes_of

    known = classes_of(kind)
    named = hf.get("architectures")
    if named is None:
        named = [name for name in known if name.endswith(("ForCausalLM", "LMHeadModel"))][:1] or known[:1]
        hf.assumed["architectures"] = named
    if isinstance(named, list) and len(named) == 1 and named[0] in known:
        return named[0]
    why = did_you_mean(str(named), known) if known else ""
    raise CheckpointError(
        hf.file, "architectures", f"{clean(repr(named))} is not a class of transformers for it", why=why
    )


def mapping(c: TransformersConfig) -> Table:
    return mapping_of(c, {})


def mapping_of(c: TransformersConfig, tensors: Mapping[str, TensorInfo]) -> Table:
    from zoo.models.theirs.plan import planned

    with answering("config.json"):
        return planned(c, tensors)


@contextmanager
def answering(file: object) -> Iterator[None]:
    """Turn what transformers raises, which may be anything, into what is wrong with the file."""
    from zoo.models.transformers_library import first_line

    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        raise CheckpointError(file, "", f"transformers cannot read it: {first_line(error)}") from None


TRANSFORMERS = Dialect(from_config=from_config, mapping=mapping, mapping_of=mapping_of, matches=matches)
