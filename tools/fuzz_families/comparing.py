"""One config held to transformers: zoo's file read by transformers, and transformers' own file read by zoo.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from tools.fuzz_families.drawing import LENGTH
from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.anatomy.differing import differences
from zoo.checkpoint.interpretation import table_for
from zoo.checkpoint.target import foreign_config
from zoo.errors import ConfigError, UsageError, ZooError
from zoo.models.construction import materialise, on_meta
from zoo.models.trial import field
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.verification.comparing import cached_decoding, worst_gap
from zoo.verification.exact import Float64
from zoo.verification.in_transformers import load_in_transformers
from zoo.verification.inputs import inputs_for
from zoo.verification.reference import side_of

# Of theirs, and in no output that is compared: poolers, and what stands beside an untied head's own bias.
UNREAD = "pooler.", "lm_head.bias", "cls.predictions.bias", "predictions.bias"
LIMIT = 1e-9  # in units of the root mean square; the order of sums leaves about 1e-14


class Refused(Exception):
    """zoo cannot write this config, or transformers has no such model: nothing to compare."""


@dataclass(frozen=True)
class Gaps:
    """How far apart, in units of the root mean square, by what was computed; and what else is wrong."""

    of: dict[str, float]
    wrong: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        return max(self.of.values(), default=0.0)

    @property
    def is_equal(self) -> bool:
        return self.worst <= LIMIT and not self.wrong


@torch.no_grad()
def held(config: ModelConfig, folder: Path, seed: int) -> Gaps:
    """Compare all that the two sides can both do. Raises Refused."""
    try:
        foreign_config(installed()[config.family], "hf", config)
        model: Any = peaked(materialise(on_meta(config, dtype="float64"), device="cpu"), seed).eval()
    except (ConfigError, UsageError) as refusal:
        raise Refused(str(refusal)) from None
    reference = _reference(model, folder / "ours")
    inputs = inputs_for(model, length=min(LENGTH, field(config, "max_seq_len", LENGTH)))
    table = table_for(installed()[config.family], "hf", config)
    side = side_of(reference, model, table, inputs).exactly()
    expected = side.run()
    found = {"whole": _gap(inputs.run(model), expected)}
    if not _depends_on_length(config):
        if (cached := cached_decoding(model, inputs, LIMIT)) is not None:
            found["cached"] = cached.max
        if inputs.given.keys() == {"tokens"} and hasattr(model, "new_cache") and not _counts_padding(config):
            found["padded"] = _padded(model, reference, inputs.given["tokens"], side.exact or Float64)
    reference.save_pretrained(folder / "theirs")
    again: Any = zoo.load(folder / "theirs", dtype="float64")
    found["read back"] = _gap(inputs.run(again), expected)
    told = [line for line in differences(again.config, config) if ".dtype:" not in line]
    return Gaps(found, tuple(line for line in told if not _is_a_token(line)))


def _reference(model: nn.Module, folder: Path) -> Any:
    """What transformers makes of the model's checkpoint."""
    zoo.save(model, folder)
    try:
        reference, random = load_in_transformers(folder, torch.float64)
    except ZooError as refusal:
        if "reads a different model" in str(refusal):
            raise
        raise Refused(str(refusal)) from None
    if any(not name.startswith(UNREAD) and ".pooler." not in name for name in random):
        raise ZooError(f"transformers draws {random} at random, which zoo did not write")
    return reference


def _gap(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    worst = worst_gap(ours, theirs)
    if worst is None:
        raise ZooError(f"nothing to compare: {sorted(ours)} and {sorted(theirs)}")
    return worst


def _padded(model: Any, reference: Any, tokens: Tensor, exact: Callable[[], AbstractContextManager[Any]]) -> float:
    """The second row padded on the left, positions counted from its first token, as generate() does."""
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, : tokens.shape[1] // 3] = False
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    try:
        with exact():
            theirs = reference(tokens, attention_mask=mask.long(), position_ids=positions).logits
    except TypeError:
        return 0.0  # its class takes no positions
    ours = model(tokens, attention_mask=mask)
    return _gap({"logits": ours[mask]}, {"logits": theirs[mask]})


def _depends_on_length(config: ModelConfig) -> bool:
    """Whether tokens rotate by the length of their text, which in transformers all rows and cached tokens share."""
    ropes = [value for value in vars(config).values() if isinstance(value, RopeConfig)]
    return any(rope.scaling in ("dynamic", "longrope") for rope in ropes)


def _counts_padding(config: ModelConfig) -> bool:
    """Whether queries grow with the position, for which transformers counts padding, as docs/deviations.md says."""
    return getattr(config, "temperature_scale", None) is not None


def _is_a_token(line: str) -> bool:
    """Special tokens, for which transformers writes its class's own where a config names none."""
    return line.startswith(("model.bos_token_id", "model.eos_token_id", "model.pad_token_id"))
