"""What people get wrong in names, keys and values, as errors that say what to type. Knows neither Hydra nor torch."""

from __future__ import annotations

from collections.abc import Iterable

from zoo.errors import UsageError, clean, did_you_mean, nearest, some
from zoo.registry.finding import no_such

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def no_config(name: str, group: str, options: Iterable[str]) -> UsageError:
    """An option that a group does not have."""
    hint = (
        f"to see what a checkpoint contains: zoo inspect {clean(name)}" if group == "model" and _is_source(name) else ""
    )
    return UsageError(
        no_such(name, group) if group else f"nothing is called {clean(name)!r}", why=suggest(name, options), hint=hint
    )


def no_key(path: str, key: str, known: Iterable[str], *, where: str = "") -> UsageError:
    """A key that its parent `path` (empty: the root) has no field for."""
    prefix = f"{path}." if path else ""
    return UsageError(f"no key {clean(prefix + key)!r}", why=suggest(key, known, 1, prefix), hint=where)


def no_field(path: str, key: str, known: Iterable[str], owner: str) -> str:
    """The sentence about a key that was added to a config and is no field of it."""
    known = sorted(known)
    close = nearest(key, known, 1)
    told = f"did you mean {close[0]}?" if close else f"known: {some(known, 12)}"
    return f"'{path}.{clean(key)}' is not a field of {owner} ({told})"


def bad_value(sentence: str, path: str, doc: str, *, where: str = "") -> UsageError:
    """A value of the wrong type: what is wrong, and what the field means."""
    return UsageError(clean(sentence, 200), why=f"{path}: {doc}" if doc else path, hint=where)


def several_values(key: str, count: int) -> UsageError:
    """A sweep that was not asked for with -m; a count of 0 is a range without end."""
    number = NUMBERS.get(count, str(count) if count else "a range of")
    return UsageError(f"{number} values for {clean(key)}: add -m to build {'both' if count == 2 else 'all'}")


def unreadable(override: str, reason: str) -> UsageError:
    """An override that the grammar has no place for."""
    hint = "put a value with commas, spaces or brackets in quotes: 'KEY=\"VALUE\"'"
    if sum(map(override.count, "[{(")) > sum(map(override.count, "]})")):
        reason, hint = "a bracket is not closed", ""
    return UsageError(f"cannot read {clean(override)!r}", why=clean(reason, 200), hint=hint)


def hidden_preset(name: str, kept: str, hidden: str) -> str:
    """Two presets of one name, from two distributions or folders."""
    return f"the model {name!r} of {hidden} is hidden by the one of {kept}"


def suggest(name: str, known: Iterable[str], most: int = 3, prefix: str = "") -> str:
    """One line that names the nearest of `known`, or, where none is near, the first few."""
    known = list(known)
    if close := nearest(name, known, most):
        return f"did you mean: {', '.join(prefix + other for other in close)}?"
    return did_you_mean("", (prefix + other for other in known))


def _is_source(name: str) -> bool:
    return "://" in name or name.startswith((".", "/", "~")) or name.endswith((".gguf", ".safetensors"))
