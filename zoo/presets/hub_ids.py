"""A preset by the name that its weights have on the hub: meta-llama/Llama-3.1-8B is llama3.1-8b. Needs no torch."""

from __future__ import annotations

from zoo.errors import NetworkError, UnknownName, clean, distance
from zoo.registry import installed

NEAR = 3  # letters that a mistyped id may differ in


def preset_of(name: str) -> str:
    """The preset whose weights `name`, as org/name, is on the hub; any other name as it stands.

    Of several, such as a whole model and its part for texts, the largest. Raises UnknownName for what is nearly an id.
    """
    if name.count("/") != 1 or name in installed().presets() or "=" in name:
        return name
    if name in (homes := _homes()):
        return homes[name]
    near = {hub: distance(name.lower(), hub.lower()) for hub in homes if abs(len(hub) - len(name)) <= NEAR}
    if (least := min(near.values(), default=NEAR + 1)) <= NEAR:
        close = [hub for hub, far in near.items() if far == least]
        raise UnknownName(f"no preset has its weights at {clean(name)!r}", close[0], close)
    return name


def with_preset(error: NetworkError, source: object) -> NetworkError:
    """The error about weights that are not here, with what needs none of them where `source` is a preset's id."""
    preset = _homes().get(str(source).removeprefix("hf://"))
    if preset is None:
        return error
    more = f"It is the preset {preset}, of which zoo show, build and compare need no weights."
    return type(error)(error.what, why="\n".join(filter(None, (error.why, more))), hint=error.hint)


def _homes() -> dict[str, str]:
    """Where the weights of presets are on the hub -> the preset, the largest where several share them."""
    from zoo.presets.catalogue import list_models

    found = sorted(list_models(), key=lambda record: record.parameters or 0)
    return {record.hub: record.name for record in found if record.hub}
