"""Weights as llm-compressor and vLLM store them: the layouts of the package compressed-tensors.

The config has groups of modules, each with a scheme: integers or floats, bits, and what shares a scale. A module's
parts are `weight_packed` or `weight`, `weight_scale`, and others that the scheme asks for. What happens to activations
at run time is told and left: zoo computes with activations as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.packed.compressed_layouts import PACKED, SCALE, SUFFIXES, WeightScheme, matrix_of
from zoo.files.packed.keys import HINT, PackingKeys, excepted, matches
from zoo.files.packed.parts import FLOATS, PartsOfFile, shown_dtype
from zoo.files.packed.record import PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

FORMATS = (
    "pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "nvfp4-pack-quantized",
    "mxfp4-pack-quantized", "mxfp8-quantized", "mixed-precision",
)  # fmt: skip
ACTIVATIONS = re.compile(r"\.(?:input|output|[qkv])_(?:scale|zero_point|global_scale)$")
LEFT = "they are for activations or the cache, which zoo keeps as they are"
STRATEGIES = ("tensor", "channel", "group", "tensor_group", "block")


@dataclass(frozen=True)
class ModuleGroup:
    """Modules of one scheme: those that a target names, or is the class of."""

    targets: tuple[str, ...]
    scheme: WeightScheme


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    groups = _groups(keys)
    file = PartsOfFile(tensors)
    modules = dict.fromkeys([*file.ending(PACKED), *file.ending(SCALE)])
    unused = {name: LEFT for name in tensors if ACTIVATIONS.search(name)}
    matrices: dict[str, PackedMatrix] = {}
    for module in modules:
        if f"{module}.weight" not in tensors and f"{module}{PACKED}" not in tensors:
            info = tensors[f"{module}{SCALE}"]
            raise CheckpointError(info.file, info.name, f"scales {clean(module)}.weight, which is missing")
        scheme = _scheme_of(module, groups, keys)
        scale = tensors.get(f"{module}{SCALE}")
        own = scale.dtype if scale and scale.dtype in FLOATS else "bfloat16"
        matrices[f"{module}.weight"] = matrix_of(file, module, scheme, shown_dtype(config, own))
    file.refuse_left(SUFFIXES)
    notes = (*_differing(groups, matrices), *excepted(keys.names("ignore"), matrices, keys), *_activations(keys))
    return Packing(frozenset({keys.name}), matrices, unused, notes)


def _groups(keys: PackingKeys) -> list[ModuleGroup]:
    format = keys.word("format", "mixed-precision", among=(*FORMATS, *UNREAD))
    if format in UNREAD:
        raise keys.refuse("format", f"zoo does not read {format!r}: {UNREAD[format]}", hint=HINT)
    for key in ("sparsity_config", "transform_config", "moe_sparsity_config"):
        if (found := keys.group(key)) and found.raw and found.raw.get("format") != "dense":
            raise keys.refuse(key, "zoo does not read weights that were made sparse or rotated", hint=HINT)
    keys.pass_over("kv_cache_scheme", "global_compression_ratio")
    groups = keys.group("config_groups")
    if groups is None or not groups.raw:
        raise keys.refuse("config_groups", "is missing: it says what the numbers mean", hint=HINT)
    found_groups = []
    for name in groups.raw:
        if (group := groups.group(name)) is not None:
            group.pass_over("input_activations", "output_activations")
            targets, weights = group.names("targets"), group.group("weights")
            own = group.word("format", format, among=FORMATS)
            group.check()
            if weights is not None:
                found_groups.append(ModuleGroup(tuple(targets), _scheme(weights, own)))
    keys.check()
    return found_groups


UNREAD = {
    "sparse-bitmask": "its zeros are left out", "sparse-24-bitmask": "its zeros are left out",
    "marlin-24": "it is in the order of a GPU's kernel", "mxfp6-pack-quantized": "it has 6-bit floats",
    "dense": "its weights are not packed yet", "fakequant": "its weights are not packed yet",
}  # fmt: skip


def _scheme(keys: PackingKeys, format: str) -> WeightScheme:
    numbers = keys.word("type", "int", among=("int", "float"))
    bits = keys.number("num_bits", 8, among=(2, 3, 4, 5, 6, 7, 8))
    size = keys.get("group_size")
    inferred = "tensor" if size is None else "channel" if size == -1 else "group"
    strategy = keys.word("strategy", inferred, among=STRATEGIES)
    shared: tuple[int | None, int | None] = (None, None) if strategy == "tensor" else (1, None)
    if strategy in ("group", "tensor_group"):
        shared = (1, keys.number("group_size", None))
    elif strategy == "block":
        shared = _block(keys)
    elif isinstance(size, int) and size > 0:
        raise keys.refuse("group_size", f"{size}, but strategy is {strategy}")
    if keys.get("dynamic", False) not in (False, "local"):
        raise keys.refuse("dynamic", "weights whose scales are found at run time are not packed")
    symmetric = keys.flag("symmetric", True)
    if numbers == "float" and not symmetric:
        raise keys.refuse("symmetric", "floats with zero points are not known")
    keys.pass_over("actorder", "observer", "observer_kwargs", "scale_dtype", "zp_dtype", "block_structure")
    keys.check()
    return WeightScheme(numbers, bits, strategy, shared, symmetric, "" if format == "mixed-precision" else format)


def _block(keys: PackingKeys) -> tuple[int, int]:
    found = keys.get("block_structure")
    if isinstance(found, str) and re.fullmatch(r"\d{1,6}x\d{1,6}", found):  # the spelling of 2024
        found = [int(size) for size in found.split("x")]
    if isinstance(found, list) and len(found) == 2 and all(type(n) is int and 0 < n <= 1 << 20 for n in found):
        return found[0], found[1]
    raise keys.refuse("block_structure", f"{clean(repr(found))} is not a pair of sizes")


def _scheme_of(module: str, groups: list[ModuleGroup], keys: PackingKeys) -> WeightScheme:
    if len({group.scheme for group in groups}) == 1:
        return groups[0].scheme  # the file has it packed, and there is one way
    named = [g.scheme for g in groups if any(_names(target, module, keys) for target in g.targets)]
    kind = "Embedding" if "embed" in module else "Linear"
    found = named or [g.scheme for g in groups if kind in g.targets]
    if len(set(found[: None if not named else 1])) != 1:
        told = "no group of the config has it" if not found else "several groups of the config have it"
        raise keys.refuse("config_groups", f"{clean(module)} is packed, and {told}")
    return found[0]


def _names(target: str, module: str, keys: PackingKeys) -> bool:
    """Whether a target is the name of `module`, or a pattern of it that is simple enough to be tried."""
    if not target.startswith("re:"):
        return target == module
    pattern = target.removeprefix("re:")
    if (found := matches(pattern, module)) is None:
        what = f"{clean(repr(pattern))} is not a pattern, or is richer than zoo tries"
        raise keys.refuse("config_groups", what)
    return found


def _differing(groups: list[ModuleGroup], matrices: Mapping[str, PackedMatrix]) -> list[str]:
    """Zero points in the file of a scheme without: the file is followed, as its owner does."""
    all_symmetric = all(group.scheme.symmetric for group in groups)
    names = [name for name, m in matrices.items() if "zeros" in m.parts]
    told = "the config says symmetric, but {} of the weights have zero points: the file is followed"
    return [told.format(len(names))] if names and all_symmetric else []


def _activations(keys: PackingKeys) -> list[str]:
    groups = [group for group in keys.raw["config_groups"].values() if isinstance(group, dict)]
    found = [group["input_activations"] for group in groups if isinstance(group.get("input_activations"), dict)]
    bits = dict.fromkeys(clean(each.get("num_bits")) for each in found)
    told = [f"its owner computes with activations of {number} bits; zoo does not round them" for number in bits]
    if keys.raw.get("kv_cache_scheme"):
        told.append("its owner keeps the cache in few bits; zoo does not round it")
    return told
