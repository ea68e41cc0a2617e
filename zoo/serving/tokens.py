"""/tokenize: what a model reads of a text or a conversation."""

from __future__ import annotations

from typing import Any

from zoo.serving.asked import Asked
from zoo.serving.failures import BadField
from zoo.serving.interface.pictures import parted
from zoo.serving.interface.prepared import encoded
from zoo.serving.roster import Roster


def told(fields: dict[str, Any], shelf: Roster) -> dict[str, Any]:
    """The answer. Raises ZooError for what cannot be."""
    asked = Asked(fields)
    volume = shelf.find(asked.any("model"))
    text, messages = asked.text("prompt"), asked.items("messages", 1024)
    is_marked = asked.any("add_special_tokens")
    asked.finish()
    if (text is None) == (messages is None):
        raise BadField("prompt", "give either prompt or messages")
    if is_marked is not None and (messages is not None or type(is_marked) is not bool):
        raise BadField("add_special_tokens", "add_special_tokens is true or false, for a prompt")
    if text is None:
        worded, pictures = parted([m if isinstance(m, dict) else {} for m in messages or []], volume, shelf.bounds)
        if pictures:
            raise BadField("messages", "what a picture is read as is known to the model alone", hint="leave it out")
        ids = volume.tokenizer.encode_chat(worded)
    elif is_marked is False:
        ids = volume.tokenizer.encode(text, add_special_tokens=False)
    else:
        ids = encoded(volume, text, shelf.bounds)
    return {"tokens": ids, "count": len(ids), "max_model_len": volume.context}
