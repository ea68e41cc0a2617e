"""LLaMA as Acme stores it: a config of zoo's own fields behind a mark, and blocks in place of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.anatomy import ModelConfig
from zoo.registry import installed
from zoo.weights import Dialect, ForeignConfig, Match, Table, alias, rename, under


def matches(raw: Mapping[str, Any]) -> Match | None:
    return Match(1.0, ("laboratory is 'acme'",)) if raw.get("laboratory") == "acme" else None


def from_config(hf: ForeignConfig) -> ModelConfig:
    hf.require(laboratory="acme")
    fields = {name: hf[name] for name in hf.raw if name != "laboratory"}
    return installed()["llama"].config_class.from_dict(fields)


def to_config(c: ModelConfig) -> dict[str, Any]:
    return {"laboratory": "acme", **c.to_dict()}


def mapping(c: Any) -> Table:
    return Table(
        rename("embed", "table"),
        under("layers.{i}", "blocks.{i}", rename("attn", "mixer"), rename("mlp", "ffn"), rename("attn_norm", "norm1")),
        rename("layers.{i}.mlp_norm", "blocks.{i}.norm2"),
        rename("norm", "last_norm"),
        alias("head.weight", of="table.weight") if c.tie_embeddings else rename("lm_head", "head"),
    )


LLAMA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=matches)
