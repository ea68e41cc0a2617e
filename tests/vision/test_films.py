"""Videos from files: which frames are taken, how large they become, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo.errors import CheckpointError, UsageError, ZooError
from zoo.vision import Cutting
from zoo.vision.films import video_settings_of
from zoo.vision.videos import Film, read_frames

from .films import write_film

av = pytest.importorskip("av", reason="the video extra is not installed")
SMALL: dict[str, Any] = {"patch_size": 4, "size": {"shortest_edge": 64, "longest_edge": 1024}}


def read(path: Path, *numbers: int) -> list[np.ndarray]:
    _, _, frames = read_frames(path, lambda film: numbers)
    return [*frames]


@pytest.mark.parametrize("name", ["film.mkv", "film.avi"])
def test_the_frames_that_are_chosen_are_those_that_were_written(name: str, tmp_path: Path) -> None:
    written = write_film(tmp_path / name, 23)
    film, chosen, frames = read_frames(tmp_path / name, lambda film: [0, 5, 5, 22])
    assert (film.num_frames, film.fps, film.height, film.width) == (23, 10.0, 48, 64)
    assert chosen == [0, 5, 5, 22]
    for found, number in zip(frames, chosen, strict=True):
        assert np.array_equal(found, written[number])


def test_moving_gifs_are_videos(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    drawn = [image.new("RGB", (16, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    drawn[0].save(tmp_path / "a.gif", save_all=True, append_images=drawn[1:], duration=100)
    film, _, frames = read_frames(tmp_path / "a.gif", lambda film: range(film.num_frames))
    assert (film.num_frames, film.fps) == (3, 10.0)
    assert [frame[0, 0].tolist() for frame in frames] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


# By hand. Two a second of a video of 10 a second; at least 4, at most 768, never more than there are.
@pytest.mark.parametrize(
    ("kind", "num_frames", "expected"),
    [
        ("Qwen2VL", 40, [0, 5, 10, 15, 20, 25, 30, 35]),
        ("Qwen2VL", 10, [0, 2, 5, 7]),
        ("Qwen2VL", 5, [0, 1, 2, 3]),  # 5 / 4 apart
        ("Qwen2VL", 3, [0, 1]),
        ("Qwen2VL", 1, [0]),
        ("Qwen3VL", 40, [0, 6, 11, 17, 22, 28, 33, 39]),  # 39 / 7 apart
        ("Qwen3VL", 10, [0, 3, 6, 9]),
        ("Qwen3VL", 3, [0, 1, 2]),
        ("Qwen3VL", 1, [0]),
    ],
)
def test_frames_are_taken_at_even_distances(kind: str, num_frames: int, expected: list[int]) -> None:
    assert Cutting.of({}, kind).choose(Film(num_frames, 10.0, 8, 8)) == expected


@pytest.mark.parametrize("kind", ["Qwen2VL", "Qwen3VL"])
def test_a_long_video_gives_no_more_frames_and_pixels_than_a_short_one(kind: str) -> None:
    cutting = Cutting.of({}, kind)
    chosen = cutting.choose(Film(200_000, 30.0, 1080, 1920))
    assert len(chosen) == 768
    assert chosen == sorted(chosen)
    height, width = cutting.size(768, 1080, 1920)
    factor = cutting.how.patch_size * cutting.how.merge_size
    tokens = height * width // factor**2 * 384
    assert tokens <= (115_200 if kind == "Qwen2VL" else 134 * 384)


def test_pictures_of_a_video_share_their_pixels_over_time() -> None:
    cutting = Cutting.of({"size": {"shortest_edge": 4096, "longest_edge": 25_165_824}}, "Qwen3VL")
    assert cutting.size(4, 1080, 1920) == (640, 1152)  # 768 tokens of 32 x 32 a frame
    assert cutting.size(64, 1080, 1920) == (448, 832)  # 25,165,824 / 64 pixels a frame
    whole = Cutting.of(
        {"size": {"shortest_edge": 4096, "longest_edge": 25_165_824}, "cap_pixels_per_frame": False}, "Qwen3VL"
    )
    assert whole.size(4, 1080, 1920) == (1088, 1920)


def test_times_are_the_middles_of_what_a_patch_takes_in_time(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mkv", 33)
    moving = Cutting.of({**SMALL, "fps": 3}, "Qwen3VL").patches(tmp_path / "a.mkv")
    assert moving.indices == [0, 4, 8, 12, 16, 20, 24, 28, 32]  # int(3.3 * 3) of them
    assert moving.times(2) == pytest.approx([0.2, 1.0, 1.8, 2.6, 3.2])  # the last stands twice
    assert moving.grid[0] == 5
    assert moving.seconds_per_grid(2) == pytest.approx(2 / (9 / 33 * 10))


@pytest.mark.parametrize("kind", ["Qwen2VL", "Qwen3VL"])
def test_a_single_frame_fills_its_patches_alone(kind: str, tmp_path: Path) -> None:
    (frame,) = write_film(tmp_path / "a.mkv", 1, height=8, width=16)
    raw: dict[str, Any] = {**SMALL, "do_normalize": False, "do_rescale": False, "do_resize": False}
    moving = Cutting.of(raw, kind).patches(tmp_path / "a.mkv")
    assert moving.grid == [1, 2, 4]
    patches = moving.patches.view(8, 3, 2, 4, 4)  # of 4 x 4 pixels, in blocks of 2 x 2
    assert torch.equal(patches[:, :, 0], patches[:, :, 1])
    assert np.array_equal(patches[0, :, 0].permute(1, 2, 0).numpy(), frame[:4, :4])
    assert np.array_equal(patches[7, :, 0].permute(1, 2, 0).numpy(), frame[4:, 12:])


def test_settings_are_looked_for_where_transformers_does(tmp_path: Path) -> None:
    assert video_settings_of(tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "X", "min_pixels": 1}')
    assert video_settings_of(tmp_path) == {"min_pixels": 1}
    (tmp_path / "video_preprocessor_config.json").write_text('{"min_pixels": 2}')
    assert video_settings_of(tmp_path) == {"min_pixels": 2}
    (tmp_path / "processor_config.json").write_text('{"image_processor": {}}')
    assert video_settings_of(tmp_path) == {"min_pixels": 2}
    (tmp_path / "processor_config.json").write_text('{"video_processor": {"min_pixels": 3}}')
    assert video_settings_of(tmp_path) == {"min_pixels": 3}
    (tmp_path / "processor_config.json").write_text('{"video_processor": 3}')
    with pytest.raises(CheckpointError, match="video_processor: is not a group of keys"):
        video_settings_of(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 0}, "fps: 0 is not supported"),
        ({"fps": float("nan")}, "fps: nan is not supported"),
        ({"fps": True}, "fps: True is not supported"),
        ({"fps": "2"}, "fps: '2' is not supported"),
        ({"fps": 2, "num_frames": 8}, "fps: it stands beside num_frames"),
        ({"num_frames": -2}, "num_frames: -2 is not supported"),
        ({"max_frames": 7.5}, "max_frames: 7.5 is not supported"),
        ({"max_video_tokens": 0}, "max_video_tokens: 0 is not supported"),
        ({"cap_pixels_per_frame": 1}, "cap_pixels_per_frame: 1 is not supported"),
        ({"video_processor_type": "Qwen2VLVideoProcessor"}, "'Qwen2VLVideoProcessor' is not Qwen3VLVideoProcessor"),
        ({"resample": 1}, "resample: 1 is not supported for videos"),
        ({"size": {"shortest_edge": 5}}, "size: "),
        ({"frame_rate": 3}, "frame_rate: the key is not known"),
        ({"patch_size": 0}, "patch_size: 0 is not supported"),
        ({"rescale_factor": 0}, "rescale_factor: 0 is not supported"),
        ({"fps": None}, "fps: null means every frame"),
        ({"min_pixels": 64}, "min_pixels: 64 is not supported"),
        ({"max_pixels": 4096}, "max_pixels: 4096 is not supported"),  # as transformers, by size alone
        ({"image_std": None}, "image_std: null is not supported where do_normalize is true"),
    ],
)
def test_settings_of_another_processor_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Cutting.of(changes, "Qwen3VL")


def test_sizes_that_cannot_be_cut_are_refused(tmp_path: Path) -> None:
    cutting = Cutting.of({}, "Qwen3VL")
    with pytest.raises(UsageError, match="too long and narrow"):
        cutting.size(4, 32, 9000)
    with pytest.raises(UsageError, match="num_frames=9: the video has 5 frames"):
        Cutting.of({"num_frames": 9}, "Qwen3VL").choose(Film(5, 10.0, 8, 8))
    write_film(tmp_path / "a.mkv", 4, height=10, width=16)
    with pytest.raises(UsageError, match="frames of 16 x 10 pixels, not resized, are no whole patches of 8"):
        Cutting.of({**SMALL, "do_resize": False}, "Qwen2VL").patches(tmp_path / "a.mkv")


def test_files_that_are_no_videos_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_film(tmp_path / "a.mkv", 30)
    whole = (tmp_path / "a.mkv").read_bytes()
    cases = {
        "gone.mp4": None,
        "empty.mp4": b"",
        "text.mp4": b"not a video at all, but a text that is long enough to be looked at by every format" * 9,
        "zeros.mkv": bytes(5000),
        "head.mkv": whole[:300],
    }
    for name, data in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError):
            read(tmp_path / name, 0)
    (tmp_path / "half.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        read(tmp_path / "half.mkv", 0, 29)
    with pytest.raises(CheckpointError, match="it ends before frame 31 of the 30 that it says"):
        read(tmp_path / "a.mkv", 3, 31)
    monkeypatch.setattr("zoo.vision.videos.MOST_FRAMES", 29)
    with pytest.raises(CheckpointError, match="the video has 30 frames"):
        read(tmp_path / "a.mkv", 0)
    monkeypatch.setattr("zoo.vision.videos.MOST_PIXELS", 48 * 64 - 1)
    with pytest.raises(CheckpointError, match="its frames have 64 x 48 pixels"):
        read(tmp_path / "a.mkv", 0)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.mpg", "mpeg1video")])
def test_damaged_files_are_refused_or_read_and_nothing_else(name: str, codec: str, tmp_path: Path) -> None:
    write_film(tmp_path / name, 12, codec=codec, pixels="yuv420p", rate=25)
    whole, rng, told = (tmp_path / name).read_bytes(), np.random.default_rng(0), []
    for _ in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 40)):
            data[at] = int(rng.integers(256))
        (tmp_path / name).write_bytes(data)
        try:
            Cutting.of(SMALL, "Qwen2VL").patches(tmp_path / name)
        except ZooError as error:
            told.append(str(error))
    assert any("is damaged" in text for text in told) or name == "a.mp4"
    assert told


def test_a_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(CheckpointError, match="it has no video in it"):
        read(tmp_path / "a.mkv", 0)


def test_a_list_of_other_files_opens_none_of_them(tmp_path: Path) -> None:
    """As a playlist or a script for FFmpeg could, also by an address."""
    write_film(tmp_path / "secret.mkv", 5)
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.mkv\n#EXT-X-ENDLIST\n",
        "a.mp4": f"ffconcat version 1.0\nfile {tmp_path}/secret.mkv\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(CheckpointError, match="cannot be read as a video"):
            read(tmp_path / name, 0)
    for address in (f"file:{tmp_path}/secret.mkv", "http://localhost:9/a.mp4", f"concat:{tmp_path}/secret.mkv"):
        with pytest.raises(CheckpointError, match="cannot be read as a video"):
            read(Path(address), 0)


def test_a_video_in_a_code_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    write_film(tmp_path / "a.avi", 3)
    data = (tmp_path / "a.avi").read_bytes()
    assert data.count(b"FFV1") > 0
    (tmp_path / "a.avi").write_bytes(data.replace(b"FFV1", b"QQ9Z"))
    with pytest.raises(CheckpointError, match="its pictures are in a form that is not known"):
        read(tmp_path / "a.avi", 0)


@pytest.mark.parametrize(
    ("numbers", "turned"),
    [
        ((1, 0, 0, 1), None),
        ((0, 1, -1, 0), "turned by -90 degrees"),
        ((-1, 0, 0, -1), "turned by -180 degrees"),
        ((1, 0, 0, -1), "upside down"),
        ((-1, 0, 0, 1), "turned by -180 degrees"),
    ],
)
def test_frames_that_are_to_be_turned_or_mirrored_are_refused(
    numbers: tuple[int, ...], turned: str | None, tmp_path: Path
) -> None:
    """As a telephone's film says of how it was held, by a matrix in the head of its track (ISO/IEC 14496-12)."""
    write_film(tmp_path / "a.mp4", 3, codec="mpeg4", pixels="yuv420p")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (number << 16 for number in numbers)
    assert struct.unpack_from(">9i", data, at) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(data)
    if turned is None:
        assert len(read(tmp_path / "a.mp4", 0, 2)) == 2
    else:
        with pytest.raises(CheckpointError, match=f"its frames are to be shown {turned}"):
            read(tmp_path / "a.mp4", 0)
