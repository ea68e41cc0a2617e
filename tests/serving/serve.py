"""A server in a thread of this process, on a port of its own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import zoo
from zoo.serving.bounds import Bounds
from zoo.serving.opening import open_volume
from zoo.serving.roster import Roster
from zoo.serving.server import Server, listening

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if tools %}{{ tools[0].function.name }}\n{% endif %}{% if add_generation_prompt %}assistant:{% endif %}"
)


@contextmanager
def served(sources: Sequence[str] = ("tiny",), *, key: str | None = None, memory_bytes: int | None = None,
           pooling: str | None = None, **bounds: Any) -> Iterator[tuple[httpx.Client, Server]]:  # fmt: skip
    """A client whose addresses begin at the server, and the server."""
    bound = Bounds(**bounds)
    shelf = Roster(
        [open_volume(source, dtype="float32", context=bound.context, pooling=pooling) for source in sources], bound,
        memory_bytes=memory_bytes,
    )  # fmt: skip
    socket = listening("127.0.0.1", 0)
    server = Server(shelf, host="127.0.0.1", port=0, key=key)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{socket.getsockname()[1]}", timeout=60, trust_env=False
        ) as client:
            for _ in range(200):
                if server.started:
                    break
                time.sleep(0.02)
            yield client, server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def talking_tiny(folder: Path, name: str = "talker") -> str:
    """The model that comes with zoo, with a chat template beside it."""
    target = folder / name
    shutil.copytree(Path(zoo.__file__).parent / "box" / "tiny", target)
    (target / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return str(target)
