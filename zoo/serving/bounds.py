"""What a request may cost, and a server hold at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """The largest of everything that a client can send, or make the server do."""

    rows: int = 8  # texts in the making
    queue: int = 64  # requests that wait
    context: int | None = None  # tokens of prompt and answer; None: as many as the model was made for
    body_bytes: int = 4 << 20
    prompts: int = 64  # of one request
    texts: int = 128  # of one request: prompts times n
    stops: int = 16
    stop_chars: int = 512
    biases: int = 1024
    schema_chars: int = 64 << 10
    top_logprobs: int = 20
    pictures: int = 8
    picture_pixels: int = 4096 * 4096
    header_bytes: int = 32 << 10
    connections: int = 256
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    grace_seconds: float = 10.0  # to finish in, once the server is told to end
    shared_bytes: int = 256 << 20  # what is kept of prompts for others that begin alike
    retry_seconds: int = 1  # what a client is told to wait when the queue is full
