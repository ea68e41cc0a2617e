"""Small videos, as PyAV writes them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write_film(
    path: Path, count: int, *, height: int = 48, width: int = 64, rate: int = 10, codec: str = "ffv1",
    pixels: str = "bgr0",
) -> list[np.ndarray]:  # fmt: skip
    """Frames [H, W, 3] of smooth moving colours, and a file of them; ffv1 keeps them bit for bit."""
    import av

    rows, columns = np.mgrid[:height, :width]
    frames = [
        np.stack(((rows * 3 + 7 * t) % 256, (columns * 2 + 11 * t) % 256, (rows * columns // 8 + 5 * t) % 256), -1)
        for t in range(count)
    ]
    frames = [frame.astype(np.uint8) for frame in frames]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return frames
