"""Weights as AutoRound stores them (arXiv:2309.05516): in the layouts of GPTQ or AWQ, under a method of its own.

`packing_format`, in older files `backend`, says which. With "gptq" in it a zero point is stored minus one, as in GPTQ's
first format; with "awq" the layout is AWQ's; with neither a zero point is stored as it is. Nothing lists the groups of
columns: they are in order. `extra_config` has what differs for a module, by its name or a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.errors import clean
from zoo.files.packed import awq, gptq
from zoo.files.packed.gptq import BITS, GroupedIntegers
from zoo.files.packed.keys import HINT, PackingKeys, excepted, matches
from zoo.files.packed.parts import PartsOfFile
from zoo.files.packed.record import PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

LAYOUT_KEYS = ("packing_format", "backend")
# What a name of a layout is made of; those behind the first five are ways to run it.
WORDS = frozenset(
    "auto_round gptq auto_gptq awq auto_awq gptqmodel exllamav2 exllama marlin triton torch zp auto cuda cpu".split()
)
WITHOUT_EFFECT = (
    "enable_norm_bias_tuning quant_lm_head to_quant_block_names enable_alg_ext enable_opt_rtn lr_scheduler "
    "enable_deterministic_algorithms momentum disable_opt_rtn static_kv_dtype static_attention_dtype seed "
    "act_group_size act_sym act_dynamic act_data_type enable_torch_compile mem_per_param_scale"
).split()
OWN = ("bits", "group_size", "sym", "data_type")


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    layout = _layout(keys)
    said, extra = _integers(keys, keys, layout), _extra(keys, layout)
    for key in ("super_bits", "super_group_size"):
        if keys.get(key) is not None:
            raise keys.refuse(key, "zoo does not read scales that are packed themselves", hint=HINT)
    file = PartsOfFile(tensors)
    matrices = {f"{m}.weight": _matrix(file, m, _of(m, extra, said), layout, config) for m in file.ending(".qweight")}
    file.refuse_left(gptq.SUFFIXES)
    listed = [*keys.names("modules_to_not_convert"), *(name for name, own in extra.items() if own is None)]
    notes = excepted(listed, matrices, keys)
    if type(bits := keys.get("act_bits")) is int and bits < 16:
        notes.append(f"its owner computes with activations of {bits} bits; zoo does not round them")
    keys.pass_over(*gptq.WITHOUT_EFFECT, *WITHOUT_EFFECT, *LAYOUT_KEYS)
    keys.check()
    return Packing(frozenset({keys.name}), matrices, notes=tuple(notes))


def _layout(keys: PackingKeys) -> str:
    """gptq, gptq_v2 or awq."""
    key = next((key for key in LAYOUT_KEYS if keys.raw.get(key) is not None), LAYOUT_KEYS[0])
    name = keys.get(key, "auto_round")
    words = re.split("[:]", name.lower().replace("-", "_")) if isinstance(name, str) else [""]
    if not WORDS.issuperset(words):
        what = f"zoo does not read AutoRound's {clean(repr(name))}: it reads integers in the layouts of GPTQ and AWQ"
        raise keys.refuse(key, what, hint=HINT)
    if any("awq" in word for word in words):
        return "awq"
    return "gptq" if any("gptq" in word for word in words) else "gptq_v2"


def _integers(keys: PackingKeys, whole: PackingKeys, layout: str) -> GroupedIntegers:
    """What one group of keys says, with those of the whole where it is silent."""
    own = replace(whole, raw={**whole.raw, **keys.raw}, name=keys.name, used=keys.used)
    own.word("data_type", "int", among=("int",))
    bits = own.number("bits", None, among=(4,) if layout == "awq" else BITS)
    size = -1 if own.get("group_size", 128) == -1 else own.number("group_size", 128)
    return GroupedIntegers(bits, size, own.flag("sym", True), layout, is_ordered=False)


def _extra(keys: PackingKeys, layout: str) -> dict[str, GroupedIntegers | None]:
    """What modules have of their own, by name or pattern; None: they are not packed."""
    groups, found = keys.group("extra_config"), dict[str, GroupedIntegers | None]()
    for name in groups.raw if groups else ():
        if (own := groups.group(name) if groups else None) is None:
            continue
        own.pass_over(*OWN, *WITHOUT_EFFECT, "act_bits", "scale_dtype", "super_bits", "super_group_size")
        own.check()
        is_whole = type(bits := own.raw.get("bits")) is int and bits >= 16
        found[name] = None if is_whole else _integers(own, keys, layout)
    return found


def _of(module: str, extra: Mapping[str, GroupedIntegers | None], said: GroupedIntegers) -> GroupedIntegers:
    """The settings of a module: those under its name, else of the first pattern of it, else those of all."""
    if (own := extra.get(module)) is not None:
        return own
    return next((e for name, e in extra.items() if e is not None and re.search(r"[*^$\\]", name)
                 and matches(name, module)), said)  # fmt: skip


def _matrix(
    file: PartsOfFile, module: str, said: GroupedIntegers, layout: str, config: Mapping[str, Any]
) -> PackedMatrix:
    if layout == "awq":
        found = awq.matrix(file, module, said.group_size or -1, has_zeros=not said.symmetric, config=config)
    else:
        found = gptq.matrix(file, module, said, config)
    encoding = replace(found.encoding, words=f"AutoRound in the layout of {found.encoding.words}")
    return replace(found, encoding=encoding)
