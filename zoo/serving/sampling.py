"""How a text is to be continued, as the fields of a request say it, before what the checkpoint says."""

from __future__ import annotations

import json
import secrets
from typing import Any

from zoo.generation import GenerationConfig
from zoo.serving.asked import Asked
from zoo.serving.bounds import Bounds
from zoo.serving.failures import BadField, Refusal

LARGEST_SEED = 2**63 - 1


def config_of(asked: Asked, base: GenerationConfig, bounds: Bounds) -> GenerationConfig:
    """The settings of all texts of a request but for how long they may get. Raises BadField or UsageError."""
    most = asked.count("n", 1, bounds.rows)
    seed = asked.count("seed", -LARGEST_SEED, LARGEST_SEED)
    heat = asked.number("temperature", 0, 2)
    if (most or 1) > 1 and base.num_beams == 1 and (base.temperature if heat is None else heat) == 0:
        raise BadField("n", f"n={most}: without a temperature all texts would be the same", hint="set a temperature")
    found = base.updated(
        temperature=heat,
        top_p=asked.number("top_p", 0, 1),
        top_k=asked.count("top_k", 1, 1 << 20),
        min_p=asked.number("min_p", 0, 1),
        repetition_penalty=asked.number("repetition_penalty", 0.01, 100),
        presence_penalty=asked.number("presence_penalty", -2, 2),
        frequency_penalty=asked.number("frequency_penalty", -2, 2),
        num_return_sequences=most,
        stop=_stops(asked, base, bounds),
        sequence_bias=[*base.sequence_bias, *_biases(asked, bounds)] or None,
        json_schema=_schema(asked, bounds),
    )
    if seed is None and found.seed is None and not found.is_greedy:
        seed = secrets.randbits(62)  # each row draws by it, also when its text is read again
    return found.updated(seed=seed)


def limited(config: GenerationConfig, asked_tokens: int | None, prompt_len: int, context: int) -> GenerationConfig:
    """The same with room for an answer. Raises Refusal where prompt and answer are longer than the context."""
    room = context - prompt_len
    wanted = asked_tokens if asked_tokens is not None else min(config.num_new(prompt_len, context), max(room, 1))
    if wanted > room:
        raise Refusal(
            400,
            f"the prompt has {prompt_len:,} tokens and {wanted:,} are asked for: more than {context:,} together",
            code="context_length_exceeded",
            hint="shorten the prompt or lower max_tokens",
        )
    return config.replaced(max_new_tokens=max(wanted, 1), max_length=None)


def _stops(asked: Asked, base: GenerationConfig, bounds: Bounds) -> list[str] | None:
    found = asked.any("stop")
    found = [found] if isinstance(found, str) else found
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > bounds.stops or not all(type(stop) is str for stop in found):
        raise BadField("stop", f"stop is neither a text nor a list of at most {bounds.stops} texts")
    if any(len(stop) > bounds.stop_chars or not stop for stop in found):
        raise BadField("stop", f"a text of stop is empty or longer than {bounds.stop_chars} characters")
    return [*base.stop, *found]


def _biases(asked: Asked, bounds: Bounds) -> list[Any]:
    found = asked.record("logit_bias") or {}
    if len(found) > bounds.biases:
        raise BadField("logit_bias", f"logit_bias has {len(found):,} tokens, {bounds.biases:,} are most")
    for token, bias in found.items():
        is_token = token.isascii() and token.isdigit() and len(token) < 10
        if not is_token or type(bias) not in (int, float) or not -100 <= bias <= 100:
            raise BadField("logit_bias", "logit_bias is not token ids with numbers from -100 to 100")
    return [[[int(token)], float(bias)] for token, bias in found.items()]


def _schema(asked: Asked, bounds: Bounds) -> dict[str, Any] | None:
    """The JSON schema that the text is held to, if it is to be JSON."""
    form = asked.inside("response_format")
    if form is None:
        return None
    kind, inner = form.any("type"), None
    if kind == "json_schema" and (inner := form.inside("json_schema")) is None:
        raise form.refusal("json_schema", "response_format has no json_schema")
    elif kind not in ("text", "json_object", "json_schema"):
        raise form.refusal("type", "response_format.type is neither text, json_object nor json_schema")
    form.finish()
    if inner is None:
        return {"type": "object"} if kind == "json_object" else None
    inner.text("name"), inner.text("description"), inner.flag("strict")  # labels; the schema is always held to
    schema = inner.record("schema")
    inner.finish()
    if schema is None:
        raise inner.refusal("schema", "response_format.json_schema has no schema")
    if len(json.dumps(schema)) > bounds.schema_chars:
        raise inner.refusal("schema", f"the schema is longer than {bounds.schema_chars:,} characters")
    return schema
