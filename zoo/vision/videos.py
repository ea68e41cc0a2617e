"""Videos from files, through PyAV: which frames there are, and those that are chosen. Needs the extra `video`.

Shapes: F frames, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import CheckpointError, MissingExtra

MOST_FRAMES = 216_000  # two hours at 30 a second: every frame up to the last that is chosen is decoded
MOST_PIXELS = 1 << 26  # of a frame
# What FFmpeg may take a file for: none of these opens another file or an address, as playlists do.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,ogg,flv,asf"


@dataclass(frozen=True)
class Film:
    """What a file says of its video: frames in all, how many a second, and their sides in pixels."""

    num_frames: int
    fps: float
    height: int
    width: int


Choose = Callable[[Film], Sequence[int]]  # numbers of frames from 0, in order; one may stand there twice


def read_frames(path: str | Path, choose: Choose) -> tuple[Film, list[int], Iterator[np.ndarray]]:
    """What a file holds, the numbers of the frames that `choose` takes of it, and these [H, W, 3], as bytes, in turn.

    Raises CheckpointError for what is no video, is longer or larger than zoo reads, or ends before its last frame;
    MissingExtra without PyAV.
    """
    film = _looked_at(path)
    chosen = [*choose(film)]
    return film, chosen, _decoded(path, film, chosen)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """The open file and its first stream of pictures; what FFmpeg says of it is a CheckpointError."""
    try:
        import av
    except ImportError:
        raise MissingExtra("av", "video", "reading videos") from None
    try:
        with open(path, "rb") as file, av.open(file, options={"format_whitelist": FORMATS}) as container:
            if not container.streams.video:
                raise CheckpointError(path, "", "it has no video in it")
            yield container, container.streams.video[0]
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise CheckpointError(path, "", f"it cannot be read as a video: {_said(error)}") from None


def _said(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _looked_at(path: str | Path) -> Film:
    with _opened(path) as (container, stream):
        if stream.codec_context is None:
            raise CheckpointError(path, "", "its pictures are in a form that is not known")
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise CheckpointError(path, "", "the video does not say how many frames a second it has")
        height, width = stream.height, stream.width
        if not height or not width or height * width > MOST_PIXELS:
            raise CheckpointError(
                path, "", f"its frames have {width} x {height} pixels", why=f"zoo reads 1 to {MOST_PIXELS:,}"
            )
        count = stream.frames or _counted(container, stream)
    if not 1 <= count <= MOST_FRAMES:
        most = f"zoo reads 1 to {MOST_FRAMES:,}"
        raise CheckpointError(path, "", f"the video has {count:,} frames", why=most, hint="cut a part out of it")
    return Film(count, float(rate), height, width)


def _counted(container: Any, stream: Any) -> int:
    """Frames of a file that does not say it, up to one more than are read."""
    count = 0
    for _ in container.decode(stream):
        count += 1
        if count > MOST_FRAMES:
            break
    return count


def _decoded(path: str | Path, film: Film, chosen: Sequence[int]) -> Iterator[np.ndarray]:
    wanted = {number: chosen.count(number) for number in chosen}
    left = len(chosen)
    with _opened(path) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if number not in wanted:
                continue
            if (frame.height, frame.width) != (film.height, film.width):
                raise CheckpointError(path, "", f"frame {number} has another size than the video")
            if turned := _turned(frame):
                what = f"its frames are to be shown {turned}, and zoo does not turn them"
                raise CheckpointError(path, "", what, hint="write them upright: ffmpeg -i in.mp4 out.mp4")
            if frame.is_corrupt:
                raise CheckpointError(path, "", f"frame {number} is damaged")
            pixels = frame.to_ndarray(format="rgb24")
            for _ in range(wanted[number]):
                left -= 1
                yield pixels
            if not left:
                return
        if left:
            what = f"it ends before frame {chosen[-left]} of the {film.num_frames} that it says"
            raise CheckpointError(path, "", what)


def _turned(frame: Any) -> str:
    """How a frame is to be turned before it is shown; empty where it stands upright."""
    if angle := getattr(frame, "rotation", 0):
        return f"turned by {angle} degrees"
    matrices = (np.frombuffer(data, "=i4") for data in frame.side_data if data.type.name == "DISPLAYMATRIX")
    return "upside down" if any(matrix[4] < 0 for matrix in matrices) else ""  # mirrored: an angle of 0 says it
