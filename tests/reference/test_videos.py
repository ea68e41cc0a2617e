"""Videos as transformers' processors make them of the same frames: patches, grids, times. Needs torchvision.

Exact, for both resize by torch's own antialiased kernels on bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.vision.films import write_film
from zoo.vision import Cutting

pytest.importorskip("av", reason="the video extra is not installed")
pytest.importorskip("torchvision", reason="the video processors of transformers resize by torchvision")
pytestmark = pytest.mark.slow

SIZES = {"shortest_edge": 2048, "longest_edge": 80_000}
CASES: dict[str, tuple[int, int, int, dict[str, Any]]] = {  # frames, height, width, settings
    "plain": (33, 90, 140, {}),
    "small": (9, 24, 17, {}),
    "large": (7, 700, 300, {"size": SIZES}),
    "fast": (50, 64, 64, {"fps": 7, "size": SIZES}),
    "few": (40, 64, 64, {"num_frames": 6, "size": SIZES}),
    "most": (60, 128, 96, {"max_frames": 10, "fps": 9, "size": SIZES}),
    "two": (2, 96, 96, {}),
    "capped": (40, 200, 300, {"cap_pixels_per_frame": True, "max_video_tokens": 60, "size": SIZES}),
    "other numbers": (12, 64, 96, {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.5, 0.7], "resample": 2}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["Qwen2VL", "Qwen3VL"])
def test_a_video_gives_the_patches_of_the_reference(kind: str, case: str, tmp_path: Path) -> None:
    import transformers
    from transformers.video_utils import VideoMetadata

    count, height, width, settings = CASES[case]
    frames = write_film(tmp_path / "a.avi", count, height=height, width=width)
    settings = {"cap_pixels_per_frame": False, **settings}
    taken = {} if "num_frames" in settings else {"fps": 2.0}
    theirs = getattr(transformers, f"{kind}VideoProcessor")(do_sample_frames=True, **{**taken, **settings})
    if "num_frames" in settings:
        theirs.fps = None
    whole = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    metadata = VideoMetadata(total_num_frames=count, fps=10.0, duration=count / 10)
    expected = theirs([whole], video_metadata=[metadata], return_metadata=True, return_tensors="pt")
    found = Cutting.of(settings, kind).patches(tmp_path / "a.avi")
    assert found.grid == expected["video_grid_thw"][0].tolist()
    (metadata,) = expected["video_metadata"]
    assert found.indices == [int(i) for i in metadata.frames_indices]
    assert torch.equal(found.patches, expected["pixel_values_videos"])
    assert found.seconds_per_grid(2) == pytest.approx(2 / metadata.sampled_fps)
    told = transformers.Qwen3VLProcessor._calculate_timestamps(None, [*found.indices], metadata.fps, 2)
    assert found.times(2) == told
