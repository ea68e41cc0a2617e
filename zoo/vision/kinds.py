"""The kinds of image processors, and what each takes where its file is silent."""

from __future__ import annotations

from typing import Any

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
KINDS: dict[str, dict[str, Any]] = {  # what each processor takes where the file is silent
    "CLIP": {
        "size": {"shortest_edge": 224}, "crop_size": 224, "resample": 3, "image_mean": CLIP_MEAN, "image_std": CLIP_STD,
    },
    "Bit": {  # DINOv2's
        "size": {"shortest_edge": 224}, "crop_size": 224, "resample": 3, "image_mean": CLIP_MEAN, "image_std": CLIP_STD,
    },
    "Siglip": {"size": {"height": 224, "width": 224}, "resample": 3, "image_mean": HALF, "image_std": HALF},
    "Siglip2": {  # pictures of any shape, of so many patches
        "patch_size": 16, "max_num_patches": 256, "resample": 2, "image_mean": HALF, "image_std": HALF,
    },
    "ViT": {"size": {"height": 224, "width": 224}, "resample": 2, "image_mean": HALF, "image_std": HALF},
    "Qwen2VL": {
        "size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}, "resample": 3,
        "image_mean": CLIP_MEAN, "image_std": CLIP_STD,
    },
    "Gemma3": {
        "size": {"height": 224, "width": 224}, "resample": 2, "image_mean": HALF, "image_std": HALF,
        "do_pan_and_scan": False,
    },
    "Llama4": {  # tiles
        "size": {"height": 336, "width": 336}, "resample": 2, "image_mean": HALF, "image_std": HALF, "max_patches": 16,
        "resize_to_max_canvas": False,
    },
    "Gemma4": {  # pictures of any shape, of so many squares of patches
        "patch_size": 16, "pooling_kernel_size": 3, "max_soft_tokens": 280, "resample": 3, "do_normalize": False,
        "image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0),
    },
}  # fmt: skip
SIZED = [kind for kind, values in KINDS.items() if "size" in values]
SUFFIXES = ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor")
INERT = frozenset(
    "image_processor_type feature_extractor_type processor_class data_format input_data_format device return_tensors "
    "disable_grouping default_to_square size_divisor min_pixels max_pixels auto_map _valid_processor_keys "
    "image_seq_length pan_and_scan_min_crop_size pan_and_scan_max_num_crops pan_and_scan_min_ratio_to_activate".split()
)
