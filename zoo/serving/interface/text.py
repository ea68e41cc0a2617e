"""/v1/completions: texts continued as they stand."""

from __future__ import annotations

from typing import Any

from zoo.serving.asked import Asked
from zoo.serving.bounds import Bounds
from zoo.serving.failures import BadField
from zoo.serving.interface.prepared import Prepared, encoded, streaming
from zoo.serving.roster import Roster, Volume
from zoo.serving.sampling import config_of


def read(fields: dict[str, Any], shelf: Roster) -> Prepared:
    """The request. Raises ZooError, for a field that cannot be by its name."""
    asked, bounds = Asked(fields), shelf.bounds
    volume = shelf.writer(asked.any("model"))
    config = config_of(asked, volume.settings, bounds)
    prompts = _prompts(asked.any("prompt"), volume, bounds)
    count = config.num_return_sequences
    if len(prompts) * count > bounds.texts:
        raise BadField(
            "n", f"{len(prompts)} prompts times n={count} are more than the {bounds.texts} texts of a request"
        )
    asked.inert("user")
    asked.only("best_of", count, why="zoo returns every text that it makes: best_of can only be n")
    asked.only("suffix", "", why="the models here continue texts, and fill no gaps")
    is_streamed, tells_usage = streaming(asked)
    prepared = Prepared(
        volume,
        lambda model: [(tokens, {}) for tokens in prompts],
        config,
        asked.count("max_tokens", 0, 1 << 24),
        asked.count("logprobs", 0, bounds.top_logprobs),
        is_chat=False,
        echo=asked.flag("echo"),
        is_streamed=is_streamed,
        tells_usage=tells_usage,
    )
    asked.finish()
    if prepared.max_tokens == 0 and not prepared.echo:
        raise BadField("max_tokens", "max_tokens=0 gives nothing", hint="set echo to read the prompt's probabilities")
    return prepared


def _prompts(given: Any, volume: Volume, bounds: Bounds) -> list[list[int]]:
    """Prompts as tokens: a text, tokens, or a list of either."""
    if given is None:
        raise BadField("prompt", "there is no prompt")
    listed = [given] if isinstance(given, str) or (_is_list(given) and given and type(given[0]) is int) else given
    if not _is_list(listed) or not listed:
        raise BadField("prompt", "prompt is neither a text, a list of token ids, nor a list of such")
    if len(listed) > bounds.prompts:
        raise BadField("prompt", f"{len(listed):,} prompts are given, {bounds.prompts} are most")
    return [_prompt(one, volume, bounds) for one in listed]


def _prompt(one: Any, volume: Volume, bounds: Bounds) -> list[int]:
    if isinstance(one, str):
        return encoded(volume, one, bounds)
    if not _is_list(one) or not all(type(token) is int for token in one):
        raise BadField("prompt", "a prompt is neither a text nor a list of token ids")
    if len(one) > volume.context:
        raise BadField("prompt", f"a prompt has {len(one):,} tokens, the model holds {volume.context:,}")
    return one


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
