"""What to advise about keys that nobody reads: which key a typo was meant to be, and whether one may be let pass.

zoo cannot know what an unknown key does. A command that lets it pass is printed only where the key cannot be a known
one under a wrong name, and where no word in it speaks of arithmetic; the rest is for whoever wrote the file. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.errors import clean, distance, some
from zoo.weights.foreign.inert import is_inert
from zoo.weights.packing import KEYS as PACKING

if TYPE_CHECKING:
    from zoo.weights.foreign.config import ForeignConfig

# Words of which models are described: a key that holds one may change what is computed.
WORDS = frozenset(
    "act activation alibi alpha attention attn base beta bias bits block cap causal chunk clip compression conv decay "
    "depth dim dims embd embed embedding embeddings eps epsilon expert experts factor ffn freq frequency gamma gate "
    "gated glu group groups head heads hidden intermediate kernel kv label labels lambda layer layernorm layers ln "
    "local logit logits lora mask mlp moe mult multiplier mup n norm normalization normalize num output parallel patch "
    "pool pooler pooling position positions pre post q qk qkv quant quantization query rank ratio residual rms rope "
    "rotary router routing scale scaled scaling shared shift size sliding softcap softcapping sparse ssm state "
    "temperature theta tie tied topk type v vision vocab width window".split()
)
_DICTS, _LISTS = ("parameters", "scaling", "config", "dict"), ("types", "layers", "list")


def advice(found: Sequence[tuple[ForeignConfig, Sequence[str]]]) -> tuple[str, str]:
    """Why the keys of a config and of its groups are refused that nobody knows, and what to do about them."""
    why = "a key that is not read could change the model"
    unknown = list(dict.fromkeys(name for _, names in found for name in names))
    if packed := [name for name in unknown if name in PACKING]:
        hint = "use the checkpoint in 16 or 32 bits: --allow cannot make packed weights readable"
        return f"{clean(packed[0])} says that its weights are packed in a way that zoo cannot unpack", hint
    near = {name: meant_by(name, hf.asked - hf.raw.keys()) for hf, names in found for name in names}
    if meant := {name: known for name, known in near.items() if known}:
        told = ", ".join(f"{known} for {clean(name)}" for name, known in meant.items())
        return why, f"did you mean {told}? Correct the name in the file: the model may depend on it"
    risky = list(dict.fromkeys(name for hf, names in found for name in names if not may_pass(hf, name)))
    if not risky:
        what = "it does. If you know that it" if len(unknown) == 1 else "they do. If you know that they"
        return why, f"zoo does not know what {what} may be left out: --allow '{','.join(unknown)}'"
    if len(risky) < len(unknown):
        told = f"{clean(some(risky, 8), 200)}, by name or value, may change what is computed"
        return f"{why}; {told}", "ask the author of the file, or remove from it what changes nothing"
    return why, "zoo does not know what it does: ask the author of the file, or remove it if it changes nothing"


def meant_by(name: str, absent: Iterable[str]) -> str:
    """The known key that is absent and that `name` is likely to be a misspelling of; or ''."""
    plain = _plain(name)
    near = [(distance(plain, _plain(known)), known) for known in absent if _is_near(plain, _plain(known))]
    return min(near)[1] if near else ""


def may_pass(hf: ForeignConfig, name: str) -> bool:
    """Whether `name` can be neither a known key under a wrong name nor, by its words, one that is computed with."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    is_plain = re.fullmatch(r"[\w.-]+", name) is not None  # it is in a shell command
    return is_plain and not WORDS & set(words) and kind_of(hf.raw[name]) not in kinds_assumed(hf)


def kinds_assumed(hf: ForeignConfig) -> set[str]:
    """The kinds of values that were taken for absent keys: one of those may stand in the file under another name."""
    return {_kind_of_absent(name, default) for name, default in hf.lacking.items() if _tells(hf, name, default)}


def telling(hf: ForeignConfig) -> dict[str, Any]:
    """Numbers and words that were assumed and that neither the weights' shapes nor other keys bear out."""
    found = {name: value for name, value in hf.lacking.items() if _tells(hf, name, value)}
    return {name: value for name, value in found.items() if kind_of(value) in ("number", "text")}


def kind_of(value: Any) -> str:
    """What a JSON value is."""
    kinds: Mapping[type, str] = {bool: "bool", int: "number", float: "number", str: "text", list: "list", dict: "dict"}
    return kinds.get(type(value), "nothing")


def _kind_of_absent(name: str, default: Any) -> str:
    """The kind of value that would stand under an absent key."""
    if default is not None:
        return kind_of(default)
    last = name.rpartition("_")[2]
    return "dict" if last in _DICTS else "list" if last in _LISTS else "number"


def _tells(hf: ForeignConfig, name: str, value: Any) -> bool:
    # A share of 1 is all channels, which every family without partial rotation assumes.
    return not is_inert(name, value) and not (name == "partial_rotary_factor" and value == 1)


def _is_near(a: str, b: str) -> bool:
    if min(len(a), len(b)) < 4:
        return a == b
    return a in b or b in a or distance(a, b) <= max(2, min(len(a), len(b)) // 4)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
