"""Pictures become the numbers of transformers' Pillow processors, bit for bit, and of Qwen-VL's own code."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zoo.errors import CheckpointError, UsageError
from zoo.vision import Processing, patches_of, pixels_of, read_image, smart_size
from zoo.vision.flexible import flexible_patches_of, pooled_patches_of, squares_within
from zoo.vision.kinds import CLIP_MEAN, CLIP_STD
from zoo.vision.prompts import settings_of

Image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
SHAPES = ((300, 200, 3), (97, 411, 3), (30, 31, 3), (240, 333, 4), (225, 224, 3))
QWEN = {"image_processor_type": "Qwen2VLImageProcessor"}


@pytest.fixture(scope="module")
def images() -> list[Any]:
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)) for shape in SHAPES]


def processor(module: str, name: str, **keys: Any) -> Any:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    return getattr(import_module(f"transformers.models.{module}"), name)(**keys)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, {"min_pixels": 4 * 784, "max_pixels": 30 * 784}])
def test_patches_equal_the_reference(images: list[Any], keys: dict[str, int]) -> None:
    reference = processor("qwen2_vl.image_processing_pil_qwen2_vl", "Qwen2VLImageProcessorPil", **keys)
    expected = reference(images, return_tensors="np")
    patches, grid = patches_of(images, Processing.of(QWEN | keys))
    assert np.array_equal(patches, expected["pixel_values"])
    assert np.array_equal(grid, expected["image_grid_thw"])


@pytest.mark.slow
@pytest.mark.parametrize("side", [224, 336])
def test_pixels_of_CLIP_equal_the_reference(images: list[Any], side: int) -> None:
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    expected = processor("clip.image_processing_pil_clip", "CLIPImageProcessorPil", **sizes)(
        images, return_tensors="np"
    )
    old = {"feature_extractor_type": "CLIPFeatureExtractor", "size": side, "crop_size": side, "do_center_crop": True}
    for raw in (old, {"image_processor_type": "CLIPImageProcessor", **sizes}):
        assert np.array_equal(pixels_of(images, Processing.of(raw)), expected["pixel_values"])


@pytest.mark.slow
def test_pixels_of_ViT_equal_the_reference(images: list[Any]) -> None:
    images = [image for image in images if image.mode == "RGB"]
    expected = processor("vit.image_processing_pil_vit", "ViTImageProcessorPil")(images, return_tensors="np")
    found = pixels_of(images, Processing.of({"image_processor_type": "ViTImageProcessor", "size": 224}))
    assert np.array_equal(found, expected["pixel_values"])


def test_pixels_of_Qwen_VL_equal_its_released_code(shared: Path) -> None:
    folder = shared / "golden" / "qwen-vl-chat"
    images = [read_image(folder / f"img{i}.png") for i in (0, 1)]
    expected = load_file(folder / "inputs.safetensors")["pixel_values"]
    assert torch.equal(pixels_of(images, Processing.square(64)), expected)


def test_a_still_video_repeats_the_patches_of_its_picture(images: list[Any]) -> None:
    how = Processing.of(QWEN)
    (one, _), (three, grid) = patches_of(images[:1], how), patches_of(images[:1] * 3, how, is_video=True)
    assert grid.tolist() == [[2, 22, 14]]
    assert torch.equal(three, torch.cat((one, one)))
    with pytest.raises(UsageError, match="different sizes"):
        patches_of(images[:2], how, is_video=True)


def test_sides_are_multiples_within_bounds() -> None:
    assert smart_size(1000, 500, 28, 3136, 100_000) == (420, 196)
    assert smart_size(10, 20, 28, 3136, 100_000) == (56, 84)
    with pytest.raises(UsageError, match="too long and narrow"):
        smart_size(2, 1000, 28, 3136, 100_000)


def test_a_picture_may_be_two_hundred_times_as_long_as_wide_and_no_longer() -> None:
    assert smart_size(4000, 20, 28, 3136, 10**7) == (4004, 28)
    assert smart_size(20, 4000, 28, 3136, 10**7)[0] == 28
    for sides in ((4001, 20), (20, 4001)):
        with pytest.raises(UsageError, match="too long and narrow"):
            smart_size(*sides, 28, 3136, 10**7)


def test_unknown_processors_and_keys_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean: CLIP"):
        Processing.of({"image_processor_type": "CLIPPImageProcessor"})
    with pytest.raises(CheckpointError, match="do_flip: the key is not known"):
        Processing.of(QWEN | {"do_flip": True})
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(CheckpointError, match="cannot be read as a picture"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("CLIP", {"size": {"shortest_edge": 30, "longest_edge": 60}}),
        ("CLIP", {"size": {"height": 30}}),
        ("ViT", {"size": "224"}),
        ("Qwen2VL", {"size": {"height": 30, "width": 40}}),
        ("Qwen2VL", {"min_pixels": "a"}),
        ("CLIP", {"crop_size": {"shortest_edge": 3}}),
        ("ViT", {"do_center_crop": True, "crop_size": 3}),
        ("Gemma3", {"do_center_crop": True}),
        ("ViT", {"resample": "bicubic"}),
        ("CLIP", {"image_mean": 0.5}),
        ("CLIP", {"image_mean": [0.5, 0.5]}),
        ("CLIP", {"image_mean": [0.5, 0.5, float("nan")]}),
        ("CLIP", {"image_std": [0.5, 0, 0.5]}),
        ("CLIP", {"rescale_factor": float("inf")}),
        ("CLIP", {"size": 1 << 30}),
        ("CLIP", {"crop_size": {"height": 30, "width": 1 << 30}}),
        ("Qwen2VL", {"size": {"shortest_edge": 1 << 60, "longest_edge": 1 << 61}}),
        ("Qwen2VL", {"min_pixels": 1 << 60, "max_pixels": 1 << 61}),
        ("CLIP", {"rescale_factor": "1/255"}),
        ("CLIP", {"do_resize": "no"}),
        ("CLIP", {"default_to_square": 1}),
    ],
    ids=str,
)
def test_values_of_another_form_are_refused_by_name(kind: str, keys: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=rf"preprocessor_config\.json: {next(iter(keys))}: "):
        Processing.of({"image_processor_type": f"{kind}ImageProcessor", **keys})


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("ViT", {"size": 30}, {"height": 30, "width": 30, "shortest_edge": None, "crop": None}),
        ("ViT", {}, {"height": 224, "width": 224, "resample": 2, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}),
        ("CLIP", {"size": 30}, {"height": None, "shortest_edge": 30, "crop": (224, 224)}),
        ("CLIP", {"size": 30, "default_to_square": True}, {"height": 30, "width": 30, "shortest_edge": None}),
        ("ViT", {"size": 30, "default_to_square": False}, {"height": None, "shortest_edge": 30}),
        ("ViT", {"size": 30, "default_to_square": None}, {"height": None, "shortest_edge": 30}),  # null is no
        ("CLIP", {"crop_size": {"height": 20, "width": 30}}, {"shortest_edge": 224, "crop": (20, 30), "resample": 3}),
        ("CLIP", {"do_center_crop": False}, {"crop": None}),
        ("CLIP", {"do_resize": False, "do_rescale": False}, {"is_resized": False, "scale": None}),
        ("CLIP", {"do_normalize": False}, {"mean": None, "std": None}),
        ("CLIP", {"do_rescale": False, "rescale_factor": 0.5}, {"scale": None}),  # as transformers writes it
        ("Gemma4", {"image_mean": None, "image_std": None}, {"mean": None, "std": None}),  # which it does not norm by
        ("Siglip", {"do_resize": None, "size": None}, {"is_resized": False, "scale": 1 / 255}),  # null is no
        (
            "Bit",
            {"do_center_crop": None, "do_rescale": None, "do_normalize": None},
            {"crop": None, "scale": None, "mean": None},
        ),
        (
            "CLIP",
            {"rescale_factor": 0.5, "image_mean": [1, 2, 3], "resample": 5},
            {"scale": 0.5, "mean": (1, 2, 3), "resample": 5},
        ),
        (
            "Qwen2VL",
            {},
            {"min_pixels": 3136, "max_pixels": 1003520, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2},
        ),
        (
            "Qwen2VL",
            {"max_pixels": 6272, "patch_size": 4, "merge_size": 3},
            {"min_pixels": 3136, "max_pixels": 6272, "patch_size": 4, "merge_size": 3},
        ),
        ("Gemma3", {"do_pan_and_scan": None}, {"height": 224, "resample": 2, "scale": 1 / 255}),
    ],
    ids=str,
)
def test_a_file_says_how_or_the_processor_of_its_name(
    kind: str, keys: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The defaults of transformers' classes."""
    for suffix in ("ImageProcessor", "ImageProcessorFast", "FeatureExtractor"):
        how = Processing.of({"image_processor_type": kind + suffix, **keys})
        assert {name: getattr(how, name) for name in expected} == expected


def test_the_group_in_processor_config_goes_before_preprocessor_config(tmp_path: Path) -> None:
    """As in transformers 5, which writes the group alone; where it is null or absent the other file says how."""
    (tmp_path / "preprocessor_config.json").write_text('{"size": 1}')
    for group, expected in (('{"image_processor": {"size": 2}}', 2), ('{"image_processor": null}', 1), ("{}", 1)):
        (tmp_path / "processor_config.json").write_text(group)
        assert settings_of(tmp_path) == {"size": expected}
    (tmp_path / "processor_config.json").write_text('{"image_processor": 2}')
    with pytest.raises(CheckpointError, match="image_processor: is not a group of keys"):
        settings_of(tmp_path)


def test_areas_beside_a_size_count() -> None:
    """As transformers 4.45 wrote them, both times."""
    area = {"min_pixels": 3136, "max_pixels": 6272}
    how = Processing.of({"image_processor_type": "Qwen2VLImageProcessor", "size": area, **area})
    assert (how.min_pixels, how.max_pixels) == (3136, 6272)


@pytest.mark.slow
def test_pixels_of_Gemma_3_equal_the_reference(images: list[Any]) -> None:
    images = [image for image in images if image.mode == "RGB"]
    size = {"height": 126, "width": 126}
    expected = processor("gemma3.image_processing_pil_gemma3", "Gemma3ImageProcessorPil", size=size)(
        images, return_tensors="np"
    )
    raw = {  # as in google/gemma-3-4b-it
        "do_convert_rgb": None, "do_normalize": True, "do_pan_and_scan": None, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "Gemma3ImageProcessor", "image_seq_length": 256,
        "image_std": [0.5, 0.5, 0.5], "pan_and_scan_max_num_crops": None, "pan_and_scan_min_crop_size": None,
        "pan_and_scan_min_ratio_to_activate": None, "processor_class": "Gemma3Processor", "resample": 2,
        "rescale_factor": 0.00392156862745098, "size": size,
    }  # fmt: skip
    assert np.array_equal(pixels_of(images, Processing.of(raw)), expected["pixel_values"])
    with pytest.raises(CheckpointError, match="do_pan_and_scan"):
        Processing.of(raw | {"do_pan_and_scan": True})


def test_the_shorter_side_is_resized_and_the_middle_kept() -> None:
    """By Pillow alone: 50 by 30 pixels, 20 for the shorter, int(20 * 50 / 30) = 33 for the longer, 16 in the middle."""
    draw = np.random.default_rng(1)
    raw = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 20}, "crop_size": 16}
    mean, std = (np.array(x, dtype=np.float32)[:, None, None] for x in (CLIP_MEAN, CLIP_STD))
    for width, height, sized, corner in ((30, 50, (20, 33), (2, 8)), (50, 30, (33, 20), (8, 2))):
        image = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        left, top = corner
        middle = image.resize(sized, resample=3).crop((left, top, left + 16, top + 16))
        scaled = (np.asarray(middle).astype(np.float64) / 255).astype(np.float32).transpose(2, 0, 1)
        found = pixels_of([image], Processing.of(raw))
        assert found.shape == (1, 3, 16, 16)
        # One rounding of float32 for the order of the factor 1 / 255.
        assert np.allclose(found[0], (scaled - mean) / std, rtol=0, atol=1e-6)


def test_a_picture_of_any_size_becomes_patches_within_the_bounds() -> None:
    image = Image.new("RGB", (40, 100))
    patches, grid = patches_of([image], Processing.of(QWEN | {"min_pixels": 784, "max_pixels": 6 * 784}))
    assert grid.tolist() == [[1, 8, 2]]  # 112 by 28 pixels: 4 by 1 times 28
    assert patches.shape == (16, 3 * 2 * 14 * 14)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Siglip", "size"), ("Siglip2", "resample"), ("Bit", "crop_size"), ("ViT", "rescale_factor"),
        ("CLIP", "image_std"),
    ],
)  # fmt: skip
def test_a_null_that_a_step_would_read_is_refused(kind: str, name: str) -> None:
    """As by transformers, which takes its class's default where a key is absent alone."""
    with pytest.raises(CheckpointError, match=rf"{name}: null is not supported where do_\w+ is true"):
        Processing.of({"image_processor_type": f"{kind}ImageProcessor", name: None})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Gemma4", "max_soft_tokens"), ("Gemma4", "patch_size"), ("Gemma4", "pooling_kernel_size"),
        ("Siglip2", "max_num_patches"), ("Siglip2", "patch_size"), ("Qwen2VL", "merge_size"),
        ("Qwen2VL", "temporal_patch_size"),
    ],
)  # fmt: skip
def test_a_null_for_a_count_is_refused(kind: str, name: str) -> None:
    """transformers stops at each of these, and takes its class's default where the key is absent alone."""
    with pytest.raises(CheckpointError, match=rf"{name}: null is not supported"):
        Processing.of({"image_processor_type": f"{kind}ImageProcessor", name: None})


def test_unknown_keys_are_listed() -> None:
    for more, told in (({"a": 1}, "a: the key is not known"), ({"a": 1, "b": 2}, "not known, and neither are b")):
        with pytest.raises(CheckpointError, match=f"{told}$"):
            Processing.of(GEMMA4 | more)


def test_a_picture_that_is_not_resized_and_no_whole_patches_is_refused() -> None:
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    how = Processing.of({"image_processor_type": "Siglip2ImageProcessor", "patch_size": 4, "do_resize": False})
    with pytest.raises(UsageError, match="9 x 8 pixels"):
        flexible_patches_of([image.new("RGB", (8, 9))], how)


GEMMA4 = {"image_processor_type": "Gemma4ImageProcessor"}


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, {"max_soft_tokens": 70}, {"patch_size": 4, "pooling_kernel_size": 2}], ids=str)
def test_patches_of_Gemma_4_equal_the_reference(images: list[Any], keys: dict[str, int]) -> None:
    thin = [Image.fromarray(np.full((*shape, 3), 7, np.uint8)) for shape in ((9, 900), (700, 3), (384, 768))]
    images = [image for image in images + thin if image.mode == "RGB"]
    expected = processor("gemma4.image_processing_pil_gemma4", "Gemma4ImageProcessorPil", **keys)(
        images, return_tensors="np"
    )
    patches, shapes = pooled_patches_of(images, Processing.of(GEMMA4 | keys))
    square = keys.get("pooling_kernel_size", 3) ** 2
    assert [int(n) // square for n in shapes.prod(1)] == list(expected["num_soft_tokens_per_image"])
    for image, (rows, columns) in enumerate(shapes.tolist()):
        count, places = rows * columns, expected["image_position_ids"][image]
        assert np.array_equal(patches[image, :count], expected["pixel_values"][image, :count])
        assert not patches[image, count:].any()
        assert places[:count].tolist() == [[n % columns, n // columns] for n in range(count)]
        assert (places[count:] == -1).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (672, 912)),  # 280 squares of 48: 14 rows of 19 are 266, and no taller or wider fit in proportion
        (48, 48, (768, 768)),  # small pictures are made larger
        (9, 9000, (48, 13440)),  # thin ones get one row, of as many squares as fit
        (9000, 9, (13440, 48)),
        (10, 5000, (48, 13440)),
    ],
)
def test_sides_are_whole_squares_within_the_budget(height: int, width: int, expected: tuple[int, int]) -> None:
    assert squares_within(height, width, 48, 280) == expected


def test_pictures_for_Gemma_4_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"9 x 8 pixels, which do_resize=false leaves as it is, cannot be cut .* of 48"
    ):
        pooled_patches_of([Image.new("RGB", (8, 9))], Processing.of(GEMMA4 | {"do_resize": False}))
    with pytest.raises(CheckpointError, match="max_soft_tokens: 100 is not supported for Gemma4"):
        Processing.of(GEMMA4 | {"max_soft_tokens": 100})
    with pytest.raises(CheckpointError, match="pooling_kernel_size: 0 is not supported"):
        Processing.of(GEMMA4 | {"pooling_kernel_size": 0})
