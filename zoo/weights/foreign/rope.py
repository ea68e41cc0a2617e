"""Rotary settings in the spellings of transformers 4 and 5. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ROPE_SCALINGS, RopeConfig
from zoo.errors import CheckpointError, UsageError, clean, did_you_mean, some
from zoo.weights.foreign.inert import is_among

if TYPE_CHECKING:
    from zoo.weights.foreign.config import ForeignConfig

KINDS = {"default": "none", "su": "longrope"}  # their name -> ours, where they differ

_STRETCH = (("factor", "factor"), ("original_max_position_embeddings", "original_max_seq_len"))
_BANDS = tuple((k, k) for k in ("low_freq_factor", "high_freq_factor"))
_RAMP = tuple((k, k) for k in ("beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate"))
KEYS: dict[str, tuple[tuple[str, str], ...]] = {  # scaling -> (their key, our field)
    "linear": _STRETCH,
    "dynamic": _STRETCH,
    "llama3": (*_STRETCH, *_BANDS),
    "yarn": (*_STRETCH, *_RAMP),
    "longrope": (*_STRETCH, *((k, k) for k in ("short_factor", "long_factor", "attention_factor"))),
}
REQUIRED = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}
# Keys in which others write what their programs take anyway, and the values at which they do nothing: those of YaRN's
# first code, and how Qwen's vision models share channels among axes, which for texts all have the same positions.
# transformers computes no frequency from any of them.
WITHOUT_EFFECT: dict[str, tuple[tuple[str, ...], Callable[[Any], bool]]] = {
    "mrope_section": (ROPE_SCALINGS, lambda value: isinstance(value, list)),
    "mrope_interleaved": (ROPE_SCALINGS, lambda value: isinstance(value, bool)),
    "finetuned": (("yarn",), lambda value: isinstance(value, bool)),
    "attn_factor": (ROPE_SCALINGS, lambda value: is_among(value, (1,))),
    "extrapolation_factor": (("yarn",), lambda value: is_among(value, (1,))),
    "factor": (("none",), lambda value: is_among(value, (1,))),
}


def read_rope(hf: ForeignConfig, theta: float, partial: float | None, layer_type: str) -> RopeConfig:
    """See ForeignConfig.rope. Raises CheckpointError for a key that the scaling does not know, or lacks."""
    group = _group(hf, layer_type)
    kind = _kind(hf, group)
    values: dict[str, Any] = {"scaling": kind}
    values["theta"] = _beside_or_inside(hf, group, "rope_theta", theta, layer_type)
    values["partial"] = _partial(hf, group, partial, layer_type)
    if partial is None and values["partial"] != 1:
        raise _bad(
            hf, f"a partial_rotary_factor of {clean(repr(values['partial']))} is not supported: all channels rotate"
        )
    values |= _context_beside(hf, group, kind, layer_type)
    known = KEYS.get(kind, ())
    if group.get("truncate", True) is None and kind == "yarn":  # a key that is there counts for them: as false
        raise _bad(hf, "truncate is null, which is neither true nor false")
    values |= {ours: group.pop(name) for name, ours in known if group.get(name) is not None}
    _pass_over(hf, group, kind)
    if left := [_said(name, value) for name, value in group.items() if value is not None]:
        raise _bad(hf, f"{clean(some(left), 200)} is not known for {kind!r}")
    if absent := [name for name in REQUIRED.get(kind, ()) if name not in values]:
        raise _bad(hf, f"{absent[0]} is missing, which {kind!r} needs")
    rope: RopeConfig = hf.as_type(RopeConfig, values, "rope_parameters")
    if kind == "longrope" and "factor" in values and rope.factor <= 1 and rope.attention_factor is None:
        rope.attention_factor = 1.0  # for them a factor that is named counts, also where it is 1
    return rope


def write_rope(rope: RopeConfig, *, partial: float | None = None) -> dict[str, Any]:
    """The value of `rope_parameters` as transformers 5 spells it; `partial` is what `ForeignConfig.rope` is given.

    Raises UsageError for a share of the channels where none is known.
    """
    out: dict[str, Any] = {"rope_type": "default" if rope.scaling == "none" else rope.scaling, "rope_theta": rope.theta}
    if partial is not None:
        out["partial_rotary_factor"] = rope.partial
    elif rope.partial != 1:
        raise UsageError(f"this kind of config.json cannot store model.rope.partial={rope.partial}")
    values = {theirs: getattr(rope, ours) for theirs, ours in KEYS.get(rope.scaling, ())}
    if rope.scaling == "longrope" and rope.factor == 1.0:
        del values["factor"]  # ours means the stretch that the lengths show, as theirs does where it is absent
    return out | {name: value for name, value in values.items() if value is not None}


def _context_beside(hf: ForeignConfig, group: dict[str, Any], kind: str, layer_type: str) -> dict[str, Any]:
    """The context before stretching where it stands beside the group, as Phi-3's; nothing reads it beside several."""
    if (name := "original_max_position_embeddings") not in hf:
        return {}
    beside, inside = hf[name], group.get(name)
    if inside not in (None, beside):
        raise _bad(hf, f"{name} is {clean(repr(inside))}, but outside the group it is {clean(repr(beside))}")
    if not layer_type:
        return {"original_max_seq_len": beside}
    if inside is None and kind in KEYS and beside != (usual := hf.raw.get("max_position_embeddings")):
        why = f"for kinds of layers transformers passes over it, and takes max_position_embeddings={clean(repr(usual))}"
        raise CheckpointError(hf.file, name, f"{clean(repr(beside))} stands beside the groups, not in them", why=why)
    return {}


def _pass_over(hf: ForeignConfig, group: dict[str, Any], kind: str) -> None:
    """Take keys without effect out of the group, and have them told."""
    known = {name: held for name, (kinds, held) in WITHOUT_EFFECT.items() if kind in kinds and name in group}
    found = {name: group.pop(name) for name, is_held in known.items() if is_held(group[name])}
    if told := [_said(name, value) for name, value in found.items() if name != "factor"]:
        hf.told[_key(hf)] = f"{_key(hf)}: {clean(some(told), 200)} changes nothing here, and is passed over"


def _said(name: str, value: Any) -> str:
    return name if isinstance(value, dict) else f"{name}={clean(repr(value), 60)}"


def _key(hf: ForeignConfig) -> str:
    """What the file calls the group."""
    names = ("rope_parameters", "rope_scaling")
    return next((name for name in names if hf.raw.get(name) is not None), names[0])


def _beside_or_inside(hf: ForeignConfig, group: dict[str, Any], name: str, default: float, layer_type: str) -> Any:
    """A number that stands in the group or beside it, where transformers passes over it if the group has it too."""
    inside, beside = group.pop(name, None), hf.raw.get(name)
    if inside is None:
        return hf.get(name, default)
    hf.used.update({name} & hf.raw.keys())
    if beside not in (None, inside) and layer_type != "sliding_attention":  # beside is what global layers have
        raise CheckpointError(
            hf.file,
            name,
            f"{clean(repr(beside))}, but rope_parameters says {clean(repr(inside))}",
            why="programs differ in which of the two they use",
        )
    return inside


def _partial(hf: ForeignConfig, group: dict[str, Any], default: float | None, layer_type: str) -> Any:
    """The share of the channels that rotate: `default` where no key says it, all of them where that is None."""
    name = "partial_rotary_factor"
    nulls = [held for held in (group, hf.raw) if name in held]
    if default not in (None, 1.0) and nulls and all(held[name] is None for held in nulls):
        why = f"transformers would rotate all channels; without the key it rotates {default} of them"
        raise CheckpointError(hf.file, name, "null is not a share of the channels", why=why)
    value = _beside_or_inside(hf, group, name, default or 1.0, layer_type)
    if default is None:
        hf.assumed.pop(name, None)  # the family has no other
    return value


def _group(hf: ForeignConfig, layer_type: str) -> dict[str, Any]:
    group = hf.get("rope_parameters", also=("rope_scaling",))
    group = {} if group is None else group
    has_types = isinstance(group, dict) and bool(group.keys() & {"full_attention", "sliding_attention"})
    if layer_type and hf.raw.get("rope_parameters") and not has_types:
        what = "it has neither a group full_attention nor a group sliding_attention"
        raise CheckpointError(hf.file, "rope_parameters", what, why="transformers passes over what is in neither")
    if group == {} and hf.raw.get("rope_theta") is None and "rope_scaling" not in hf.raw:
        hf.assumed["rope_parameters"] = {"rope_type": "default"}  # nothing speaks of rotation at all
    if isinstance(group, dict) and layer_type and layer_type in group and hf.raw.get("rope_parameters"):
        group = group[layer_type] or {}
    if not isinstance(group, dict):
        raise _bad(hf, f"{clean(repr(group))} is not a group of keys")
    return dict(group)


def _kind(hf: ForeignConfig, group: dict[str, Any]) -> str:
    """Our name of the scaling, which the group names as `rope_type`, as `type` or, saying the same, as both."""
    named = [group.pop(name) for name in ("rope_type", "type") if name in group]
    kinds = [KINDS.get(str(name), str(name)) for name in named if name is not None] or ["none"]
    if kinds[0] != kinds[-1]:
        raise _bad(hf, f"rope_type says {clean(kinds[0])!r} and type says {clean(kinds[-1])!r}")
    if kinds[0] not in ROPE_SCALINGS:
        raise _bad(hf, f"the scaling {clean(kinds[0])!r} is not known", did_you_mean(kinds[0], ROPE_SCALINGS))
    return kinds[0]


def _bad(hf: ForeignConfig, what: str, why: str = "") -> CheckpointError:
    return CheckpointError(hf.file, _key(hf), what, why=why)
