"""The last look at a foreign config: each key was read, is without effect, is allowed, or is refused. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean, some
from zoo.weights.foreign.inert import HARMLESS, is_among, is_inert, read_classes, read_remote_code, unusual
from zoo.weights.foreign.unknown import advice

if TYPE_CHECKING:
    from zoo.weights.foreign.config import ForeignConfig


def check_keys(hf: ForeignConfig, where: str, allow: tuple[str, ...], *, is_asked: bool) -> None:
    """See ForeignConfig.check: afterwards each key is in one of `used`, `inert` and `allowed`, and no other."""
    if unknown := [(part, names) for part in (hf, *_groups(hf)) if (names := _sorted(part, allow))]:
        raise _unknown(unknown, where)
    _read_classes(hf, hf.raw.keys() - hf.used - hf.inert - {*hf.allowed}, is_asked=is_asked)
    hf.told |= unusual({name: value for name, value in hf.raw.items() if name not in hf.used})


def _groups(hf: ForeignConfig) -> Iterator[ForeignConfig]:
    for group in hf.groups:
        yield group
        yield from _groups(group)


def _sorted(hf: ForeignConfig, allow: tuple[str, ...]) -> list[str]:
    """Put each key of one group into its column; those that have none."""
    unread = hf.raw.keys() - hf.used
    let_pass = {name for name in unread if any(fnmatchcase(name, pattern) for pattern in allow)}
    classes = unread & ({"architectures", "auto_map"} if not hf.name else set())  # within a group nobody reads them
    hf.inert |= {name for name in unread if _is_inert(hf, name, hf.raw[name])}
    hf.inert &= unread
    hf.used &= hf.raw.keys()
    hf.allowed = [name for name in hf.raw if name in let_pass - hf.inert]
    return sorted(unread - hf.inert - let_pass - classes)


def _read_classes(hf: ForeignConfig, names: set[str], *, is_asked: bool) -> None:
    """`architectures` and `auto_map`, as far as the family has not read them itself."""
    try:
        if "architectures" in names and hf.classes and (told := read_classes(hf.raw, hf.classes, hf.file)):
            hf.told["architectures"] = told
        if "auto_map" in names and hf.raw["auto_map"] is not None:
            read_remote_code(hf.raw, hf.code, hf.file)
    except CheckpointError as error:
        if not is_asked:
            raise
        hf.told["architectures"] = error.what.removeprefix(f"{hf.file}: ")
    hf.inert |= names & {"architectures", "auto_map"}
    is_told = "is_decoder" not in hf.used and hf.raw.get("is_encoder_decoder") is not True
    if is_told and _is_decoder(hf) and hf.raw.get("is_decoder") is False:
        hf.told["is_decoder"] = "is_decoder=False: the model of this family is a decoder anyway"


def _is_inert(hf: ForeignConfig, name: str, value: Any) -> bool:
    if name == "is_decoder" and (hf.name or _is_decoder(hf)):
        return is_among(value, (True, False, None))
    if hf.name and name in ("architectures", "auto_map"):
        return True
    if name == "tie_word_embeddings" and name not in hf.asked and not _is_decoder(hf):  # of what has no words
        return is_among(value, (True, False, None))
    return is_inert(name, value) or (value is None and name not in HARMLESS)  # null sets nothing


def _is_decoder(hf: ForeignConfig) -> bool:
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in hf.classes)


def _unknown(found: list[tuple[ForeignConfig, list[str]]], where: str) -> CheckpointError:
    """The error that names every key of every group that nobody knows, with one advice for all of them."""
    hf, names = found[0]
    name, rest = names[0], names[1:]
    if name in HARMLESS:
        known = " or ".join(repr(value) for value in HARMLESS[name] if value is not None) or repr(None)
        what = f"{clean(repr(hf.raw[name]))} is not supported, only {known} is"
        return CheckpointError(hf.file, name, what, why="it would be a different model")
    rest += [f"{part.name}.{other}" for part, others in found[1:] for other in others]
    others = f", nor {some([*map(clean, rest)], 40)}" if rest else ""
    why, hint = advice(found)
    return CheckpointError(
        hf.file, name, f"the key is not known to {where or 'this family'}{others}", why=why, hint=hint
    )
