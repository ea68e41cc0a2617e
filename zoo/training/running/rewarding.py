"""A model of reward as its folder holds it: the decoder that was trained, under a head of one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.target import foreign_config
from zoo.errors import UsageError, ZooError
from zoo.registry import installed

FAMILY = "headed"  # the family of decoders under another head
TRUNK, HEAD = "trunk.", "classifier.weight"


def rewarding(config: ModelConfig, end: int | None) -> ModelConfig:
    """The config of the model of reward of which a decoder is the trunk; `end` is the token that ends its rows.

    Its head reads the last token that is not padding: no token is for padding where a row may end in it.
    """
    pad = config.pad_token_id
    ends = {end, *config.eos_token_id}
    values: dict[str, Any] = {
        "trunk": config, "head": "sequence_classification", "num_labels": 1, "dtype": config.dtype,
        "bos_token_id": config.bos_token_id, "eos_token_id": list(config.eos_token_id),
        "pad_token_id": None if pad in ends else pad,
    }  # fmt: skip
    return installed()[FAMILY].config_class(**values)


def under_head(ours: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the model of reward; a head over the vocabulary is not among them."""
    trunk = {f"{TRUNK}{name}": value for name, value in ours.items() if not name.startswith("lm_head.")}
    return trunk | {HEAD: head["weight"].detach()}


def reward_format(config: ModelConfig, end: int | None, asked: str | None) -> str:
    """The format of the folder: hf where the family's decoders have such a class there, else zoo.

    Raises UsageError for one that was asked for and cannot hold it.
    """
    can_be_hf = _is_read_again(rewarding(config, end))
    if asked in ("zoo", None) or (asked == "hf" and can_be_hf):
        return asked or ("hf" if can_be_hf else "zoo")
    raise UsageError(f"format={asked} cannot hold a reward model of {config.family}", hint="leave format out")


def trunk_of(model: Any) -> nn.Module:
    """The decoder of a model of reward that was loaded, with the account of the checkpoint; another model as it is."""
    if model.config.family != FAMILY:
        return model
    trunk: nn.Module = model.trunk
    object.__setattr__(trunk, "ledger", model.ledger)
    return trunk


def _is_read_again(config: Any) -> bool:
    """Whether what transformers' config.json would say is taken for the same model."""
    try:
        if not installed()[config.trunk.family].formats.get("hf"):
            return False
        found = installed().detect(foreign_config(installed()[FAMILY], "hf", config))
    except ZooError:
        return False
    return bool(found) and found[0][0].name == FAMILY
