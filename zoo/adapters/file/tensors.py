"""Whose tensors an adapter's file holds, by their names: pairs of factors, and modules that were trained whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo.errors import CheckpointError, clean
from zoo.files.tensor_info import TensorInfo
from zoo.weights.account import NOT_FLOATS

PREFIX = "base_model.model."
INNER = ".base_layer"  # what peft calls a module that it wrapped
_PART = re.compile(r"(.+)\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(?:\.weight)?")
_PEFTS = re.compile(r"(?:^|\.)(?:lora_|ia3_|oft_|hada_|lokr_|vera_|token_adapter|prompt_|modules_to_save)")


@dataclass(frozen=True)
class FactorPair:
    """The two factors of one matrix, or of a stack of them; A [r, in] and B [out, r], as peft writes them."""

    module: str  # as transformers calls it
    parts: dict[str, TensorInfo] = field(default_factory=dict)  # A, B, and DoRA's magnitude
    depth: int = 0  # how many wrappers of the same module stand around it
    is_embedding: bool = False

    @property
    def a(self) -> TensorInfo:
        return self.parts["A"]

    @property
    def b(self) -> TensorInfo:
        return self.parts["B"]


def pairs_in(tensors: Mapping[str, TensorInfo], file: str) -> tuple[list[FactorPair], dict[str, TensorInfo]]:
    """The pairs, and the whole tensors by the names that transformers has for them. Raises CheckpointError."""
    pairs: dict[tuple[str, int], FactorPair] = {}
    whole: dict[str, TensorInfo] = {}
    for name, info in tensors.items():
        if info.dtype in NOT_FLOATS or info.dtype.startswith("float8"):
            raise CheckpointError(file, name, f"is of type {info.dtype}, not of floats of 16 bits or more")
        if not name.startswith(PREFIX):
            raise CheckpointError(file, name, f"the name does not begin with {PREFIX}, as those of peft do")
        spelt = name.removeprefix(PREFIX)
        found = _PART.fullmatch(spelt)
        if found is None:
            if _PEFTS.search(spelt):
                raise CheckpointError(file, name, "zoo does not know what this tensor is for")
            whole[spelt.replace(INNER, "")] = info
            continue
        module, part = found.groups()
        key = (module.replace(INNER, ""), module.count(INNER))
        pair = pairs.setdefault(key, FactorPair(*key[:1], {}, key[1], "embedding" in part))
        role = "magnitude" if part.endswith("vector") else part[-1]
        if role in pair.parts or (pair.is_embedding != ("embedding" in part) and role != "magnitude"):
            raise CheckpointError(file, name, f"a second {role} of {clean(key[0])}")
        pair.parts[role] = info
    for pair in pairs.values():
        _check(pair, file)
    return [*pairs.values()], whole


def _check(pair: FactorPair, file: str) -> None:
    """Refuse a pair of which one is missing, or whose ranks differ."""
    letter = "embedding_" if pair.is_embedding else ""
    for role in "AB":
        if role not in pair.parts:
            raise CheckpointError(file, pair.module, f"has no lora_{letter}{role}")
    for info in (pair.a, pair.b):
        if len(info.shape) != 2:
            what = f"{list(info.shape)} is not a matrix: zoo adapts linear layers, embeddings and experts only"
            raise CheckpointError(file, info.name, what)
    if pair.a.shape[0] != pair.b.shape[1]:
        what = f"its A {list(pair.a.shape)} and B {list(pair.b.shape)} differ in rank"
        raise CheckpointError(file, pair.module, what)
