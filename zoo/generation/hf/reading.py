"""Reading generation_config.json: every key is used, known to change nothing, or refused unless it is to be ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.anatomy.config import typed
from zoo.errors import CheckpointError, ConfigError, UsageError, clean, did_you_mean, nearest, some
from zoo.generation.config import GenerationConfig
from zoo.generation.hf.keys import ASSUMED, INERT, NEUTRAL, NOTHING, OF_CLASSES, READ, RENAMED, UNHEATED
from zoo.generation.ranges import SAMPLED

FILE = "generation_config.json"
TEXT = ("decoder", "generator", "text_config")  # where the config of a model of several parts keeps that of its texts
HINT = "to leave out what zoo does not know: --ignore-settings, or ignore_settings=True in Python"


def config_from_hf(
    raw: Mapping[str, Any], file: object = FILE, *, ignore: bool = False
) -> tuple[GenerationConfig, list[str]]:
    """The settings that a generation_config.json holds, and what was assumed or left unread, a line each.

    Raises CheckpointError for a value that cannot be, a key that is not known, and one that asks for what zoo does not
    do, unless they are to `ignore`.
    """
    given = {key: value for key, value in raw.items() if value is not None}
    problems = {key: told for key, value in given.items() if (told := _problem(key, value, given))}
    if problems and not ignore:
        raise _refused(problems, given, file)
    notes = [f"{clean(key)}={clean(given[key])} is ignored: {told}" for key, told in problems.items()]
    used = {key: value for key, value in given.items() if key not in problems}
    values = {RENAMED.get(key, key): _as_ours(key, value) for key, value in used.items() if key in READ}
    notes += _settle_sampling(values, used.get("do_sample", False) is True)
    values = {key: value for key, value in values.items() if value is not None}
    if "min_new_tokens" in values and values.pop("min_length", 0):  # be it 0
        notes.append("min_length is not used: min_new_tokens goes before")
    try:
        return _build(values), notes
    except (ConfigError, UsageError) as error:  # settings that do not go together
        if ignore:
            kept = _build(
                {key: values[key] for key in ("eos_token_id", "max_length", "max_new_tokens") if key in values}
            )
            return kept, [*notes, f"all but the length and the end is ignored: {error.what}"]
        raise CheckpointError(file, "", clean(error.what, 200), hint=HINT) from None


def settings_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json holds of generation's settings: transformers reads them where there is no other file."""
    found: dict[str, Any] = dict(OF_CLASSES.get(str(config.get("model_type")), {}))
    text = next((config[name] for name in TEXT if isinstance(config.get(name), Mapping) and config[name]), {})
    for part in (text, config):
        found |= {k: v for k, v in part.items() if k in (READ | {*NEUTRAL, "do_sample"}) and v is not None}
    if config.get("force_bos_token_to_be_generated") and "forced_bos_token_id" not in found:
        found["forced_bos_token_id"] = config.get("bos_token_id")
    for of_the_model in ("eos_token_id", "decoder_start_token_id"):  # which the family reads
        found.pop(of_the_model, None)
    return found


def _problem(key: str, value: Any, given: Mapping[str, Any]) -> str:
    """Why a key has no place here; empty where it has one."""
    if key in NEUTRAL:
        return "" if value in NEUTRAL[key] else f"zoo does not support {clean(key)}={clean(value)}"
    if key == "stop_words_ids":  # of Qwen's own code: end tokens by another name, where each is one of those
        ends = _listed(given.get("eos_token_id"))
        is_said = isinstance(value, list) and all(word in [[end] for end in ends] for word in value)
        return "" if is_said else f"zoo does not support {key}={clean(value)}"
    if key == "do_sample":
        return "" if isinstance(value, bool) else f"{clean(value)!r} is not true or false"
    if key in INERT:
        return ""
    if key not in READ:
        near = f"; {did_you_mean(key, READ)}" if nearest(key, READ) else ""
        return f"{clean(key)}={clean(value)} is not a setting that zoo knows{near}"
    try:
        _alone(RENAMED.get(key, key), _as_ours(key, value))
    except (ConfigError, UsageError) as error:
        return clean(error.what.removeprefix("generation."), 200)
    return ""


def _alone(name: str, value: Any) -> None:
    """Raise for a value that the setting cannot have, whatever the others are."""
    company: dict[str, Any] = {"num_beams": 2**30, "num_beam_groups": 2} if name == "diversity_penalty" else {}
    if name in ("num_beam_groups", "num_return_sequences") and type(value) is int and value > 0:
        company["num_beams"] = value
    _build({name: value} | company)


def _refused(problems: dict[str, str], given: Mapping[str, Any], file: object) -> CheckpointError:
    if len(problems) == 1:
        key, told = next(iter(problems.items()))
        return CheckpointError(file, key, told, hint=HINT)
    told = [f"  {line}" for line in problems.values()]
    why = "\n".join([*told[:8], *([f"  and {len(told) - 8} more"] if len(told) > 8 else [])])
    what = f"{len(problems)} settings that zoo does not follow: {some([clean(key) for key in problems], 8)}"
    return CheckpointError(file, "", what, why=why, hint=HINT)


def _settle_sampling(values: dict[str, Any], do_sample: bool) -> list[str]:
    if do_sample:
        missing = {key: value for key, value in ASSUMED.items() if key not in values}
        values.update(missing)
        return [f"{key} is not given: {value} is assumed, as transformers does" for key, value in missing.items()]
    dropped = {key: values.pop(key, None) for key in ("temperature", *SAMPLED)}
    return [
        f"{key} is not used: do_sample is false"
        for key, value in dropped.items()
        if value is not None and value != UNHEATED.get(key)
    ]


def _as_ours(key: str, value: Any) -> Any:
    if key in ("eos_token_id", "stop_strings", "forced_eos_token_id") and not isinstance(value, list):
        return [value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number and value in NOTHING.get(key, ()) else value


def _build(values: dict[str, Any]) -> GenerationConfig:
    values = {key: value for key, value in values.items() if value is not None}
    early_stopping = values.pop("early_stopping", False)  # bool or str, of which `typed` would try the first alone
    return typed(GenerationConfig, values, "generation").updated(early_stopping=early_stopping)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
