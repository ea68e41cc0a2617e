"""Qwen-VL, Qwen2-VL and Qwen2.5-VL: decoders that read images and, from the second on, videos."""

from zoo import Family, hookimpl

DEEP = "its decoder takes in images at several depths and interleaves positions of time and place: zoo lacks both"


@hookimpl
def zoo_families():
    return [
        Family(
            name="qwen_vl",
            config=f"{__name__}.v1.config:QwenVLConfig",
            model=f"{__name__}.v1.model:QwenVL",
            formats={"hf": f"{__name__}.v1.hf:QWEN_VL"},
            hf_types=("qwen",),
            pictures=f"{__name__}.pictures:read_v1",
            summary="Qwen-7B with a ViT-bigG whose patches a resampler turns into 256 tokens per image",
        ),
        Family(
            name="qwen2_vl",
            config=f"{__name__}.config:Qwen2VLConfig",
            model=f"{__name__}.model:Qwen2VL",
            formats={"hf": f"{__name__}.hf:QWEN2_VL"},
            hf_types=("qwen2_vl",),
            pictures=f"{__name__}.pictures:read",
            summary="Qwen2 with images and videos of any size, and rotary positions of time, height and width",
        ),
        Family(
            name="qwen2_5_vl",
            config=f"{__name__}.config:Qwen2_5VLConfig",
            model=f"{__name__}.model:Qwen2VL",
            formats={"hf": f"{__name__}.hf:QWEN2_5_VL"},
            hf_types=("qwen2_5_vl",),
            pictures=f"{__name__}.pictures:read",
            near=dict.fromkeys(("qwen3_vl", "qwen3_vl_text", "qwen3_vl_moe", "qwen3_vl_moe_text"), DEEP),
            summary="Qwen2-VL whose tower attends within windows and whose time is counted in seconds",
        ),
    ]
