"""Pictures in messages: data URLs alone. No address is fetched and no file is opened."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

from zoo.errors import UsageError, ZooError
from zoo.serving.asked import Asked
from zoo.serving.bounds import Bounds
from zoo.serving.failures import BadField
from zoo.serving.roster import Volume
from zoo.vision.images import pillow, read_image


def parted(messages: list[dict[str, Any]], volume: Volume, bounds: Bounds) -> tuple[list[dict[str, Any]], list[Any]]:
    """Messages as templates take them, and the pictures that stand in them, in order."""
    pictures: list[Any] = []
    found = []
    for number, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, list):
            parts = [_part(part, f"messages[{number}].content[{i}]", volume) for i, part in enumerate(content)]
            if len(pictures) + sum(part["type"] == "image" for part in parts) > bounds.pictures:
                raise BadField("messages", f"there are more than {bounds.pictures} pictures")
            pictures += [_picture(part.pop("url"), bounds) for part in parts if part["type"] == "image"]
            is_text = all(part["type"] == "text" for part in parts)
            content = "".join(part["text"] for part in parts) if is_text else parts
        found.append({**message, "content": "" if content is None else content})
    return found, pictures


def _part(part: Any, at: str, volume: Volume) -> dict[str, Any]:
    """A part as templates take it, a picture with its address besides."""
    asked = Asked(part if isinstance(part, dict) else {}, at=at)
    kind = asked.any("type")
    if kind == "text" and (text := asked.text("text")) is not None:
        asked.finish()
        return {"type": "text", "text": text}
    if kind != "image_url":
        raise BadField("messages", "a part of a message is neither a text nor an image_url")
    if not volume.sees:
        raise BadField("messages", f"{volume.name} does not read pictures")
    url = asked.any("image_url")
    if isinstance(url, dict) and (inner := asked.inside("image_url")) is not None:
        url = inner.any("url")
        inner.only("detail", "auto", why="pictures are read as finely as the model's own settings say")
        inner.finish()
    asked.finish()
    return {"type": "image", "url": url}


def _picture(url: Any, bounds: Bounds) -> Any:
    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise BadField(
            "messages", "a picture is not given as data:image/...;base64,...", why="zoo fetches no address and no file"
        )
    try:
        raw = io.BytesIO(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise BadField("messages", "a picture's data are not base64") from None
    module = pillow()
    try:
        with module.open(raw) as image:
            width, height = image.size
    except Exception as error:  # a stranger's bytes: whatever Pillow makes of them
        raise BadField("messages", f"a picture cannot be read: {type(error).__name__}") from None
    if width * height > bounds.picture_pixels:
        raise BadField("messages", f"a picture has {width} x {height} pixels, {bounds.picture_pixels:,} are most")
    raw.seek(0)
    try:
        return read_image(raw)  # pyrefly: ignore[bad-argument-type]  # Pillow reads from memory as from a file
    except UsageError:
        raise
    except (ZooError, OSError, ValueError, MemoryError):
        raise BadField("messages", "a picture cannot be read") from None
