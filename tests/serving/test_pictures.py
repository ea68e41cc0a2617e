"""Pictures as data URLs, for models that see: answered as zoo.generate answers, beside texts without any."""

from __future__ import annotations

import base64
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

import zoo
from tests.serving.serve import served
from tests.vision.test_illustration import folder, pictures, with_template  # noqa: F401  # folder is a fixture

Image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
pytestmark = pytest.mark.slow


def url_of(file: str) -> str:
    return "data:image/png;base64," + base64.b64encode(Path(file).read_bytes()).decode()


def saying(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*parts]}], "max_tokens": 8}


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


HI = {"type": "text", "text": "hi"}


def header_of(width: int, height: int) -> str:
    """A picture of a few bytes that says how large it is."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk).decode()


def test_pictures_are_answered_beside_texts(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    chat = with_template(folder, tmp_path)
    files = pictures(chat.parent if (chat.parent / "cat.png").exists() else folder, "cat", "dog")
    model = zoo.load(chat, dtype="float32")
    tokenizer, config = model.ledger.tokenizer, model.ledger.settings()[0]
    asked = [saying(picture(url_of(files[0])), HI), saying(picture(url_of(files[0])), picture(url_of(files[1])), HI),
             saying(HI)]  # fmt: skip
    found: dict[int, str] = {}
    with served([str(chat)]) as (client, server):

        def ask(number: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as own:
                answer = own.post("/v1/chat/completions", json=asked[number])
                assert answer.status_code == 200, answer.text
                found[number] = answer.json()["choices"][0]["message"]["content"]

        askers = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        for url, words in (
            ("http://127.0.0.1/x.png", "fetches no address"), ("file:///etc/passwd", "fetches no address"),
            (files[0], "fetches no address"), ("data:image/png;base64,%%%", "not base64"),
            ("data:image/png;base64,AAAA", "cannot be read"), (header_of(60_000, 60_000), "a picture"),
        ):  # fmt: skip
            answer = client.post("/v1/chat/completions", json=saying(picture(url), HI))
            assert answer.status_code == 400
            assert words in answer.json()["error"]["message"]
        too_many = client.post("/v1/chat/completions", json=saying(*[picture(url_of(files[0]))] * 9))
        assert "more than 8 pictures" in too_many.json()["error"]["message"]
        assert server.shelf.engines[0].can_join
    for number, images in enumerate((files[:1], files, [])):
        content = [*({"type": "image"} for _ in images), HI] if images else "hi"
        messages = [{"role": "user", "content": content}]
        if images:
            made = zoo.illustrate(model, messages, images, tokenizer=tokenizer)
            out = zoo.generate(model, [made.tokens], inputs=made.inputs, tokenizer=tokenizer, config=config,
                               max_new_tokens=8)  # fmt: skip
        else:
            tokens = tokenizer.encode_chat(messages)
            out = zoo.generate(model, [tokens], tokenizer=tokenizer, config=config, max_new_tokens=8)
        assert found[number] == out.text
