"""Pictures in messages: data URLs alone. No address is fetched and no file is opened."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

from zoo.errors import UsageError, ZooError
from zoo.serving.bounds import Bounds
from zoo.serving.failures import BadField
from zoo.serving.roster import Volume
from zoo.vision.images import pillow, read_image


def parted(messages: list[dict[str, Any]], volume: Volume, bounds: Bounds) -> tuple[list[dict[str, Any]], list[Any]]:
    """Messages as templates take them, and the pictures that stand in them, in order."""
    pictures: list[Any] = []
    found = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            parts = [_part(part, volume, bounds, pictures) for part in content]
            is_text = all(part["type"] == "text" for part in parts)
            content = "".join(part["text"] for part in parts) if is_text else parts
        found.append({**message, "content": "" if content is None else content})
    return found, pictures


def _part(part: Any, volume: Volume, bounds: Bounds, pictures: list[Any]) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and type(part.get("text")) is str:
        return {"type": "text", "text": part["text"]}
    if kind != "image_url":
        raise BadField("messages", "a part of a message is neither a text nor an image_url")
    if not volume.sees:
        raise BadField("messages", f"{volume.name} does not read pictures")
    if len(pictures) == bounds.pictures:
        raise BadField("messages", f"there are more than {bounds.pictures} pictures")
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    pictures.append(_picture(url, bounds))
    return {"type": "image"}


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
