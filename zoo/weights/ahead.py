"""Multi-token prediction in files: how DeepSeek names its modules, and what is left out where nobody asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.weights.entries import Entry, Ignore, ignore, rename, under
from zoo.weights.foreign.config import ForeignConfig

__all__ = ["UNASKED", "module_rules", "read_loaded", "unasked_modules", "write_loaded"]

MODULE = {
    "embed": "embed_tokens", "embed_norm": "enorm", "hidden_norm": "hnorm", "proj": "eh_proj",
    "norm": "shared_head.norm", "lm_head": "shared_head.head",
}  # fmt: skip
LOADED = "zoo_num_mtp_layers"  # of zoo alone, in what it exports: how many modules were loaded
UNASKED = "multi-token prediction, loaded when asked for: model.num_mtp_layers"


def unasked_modules(num_layers: int, num_mtp_layers: int, tensors: Iterable[str]) -> list[Ignore]:
    """The layers behind the last, of files that hold `tensors`, that are modules which nobody asked for.

    Only a layer with an `eh_proj` is one: a layer too many is an error still.
    """
    found = (re.fullmatch(r"model\.layers\.(\d+)\.eh_proj\.weight", name) for name in tensors)
    modules = [int(match[1]) for match in found if match]
    return [ignore(f"model.layers.{n}", UNASKED) for n in modules if n >= num_layers + num_mtp_layers]


def module_rules(number: int, num_layers: int, layer: Sequence[Entry], *, tied: bool) -> list[Entry]:
    """A zoo.nn.MTP as a layer behind the last; files that leave out its embedding and head mean the main model's."""
    theirs = f"model.layers.{num_layers + number}"
    return [
        *under(f"mtp.{number}", theirs, *(rename(ours, name) for ours, name in MODULE.items())),
        *under(f"mtp.{number}.layer", theirs, *layer),
        rename(f"mtp.{number}.embed", "model.embed_tokens"),
        rename(f"mtp.{number}.lm_head", "model.embed_tokens" if tied else "lm_head"),
    ]


def read_loaded(hf: ForeignConfig) -> dict[str, Any]:
    """How many modules an export of zoo was loaded with."""
    return {"num_mtp_layers": hf.as_type(int, hf[LOADED], LOADED)} if LOADED in hf else {}


def write_loaded(count: int) -> Mapping[str, int]:
    """What `read_loaded` reads."""
    return {LOADED: count} if count else {}
