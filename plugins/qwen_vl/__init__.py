"""Qwen-VL, Qwen2-VL, Qwen2.5-VL and Qwen3-VL: decoders that read images and, from the second on, videos."""

from zoo import Family, hookimpl

ALONE = "it is the decoder of a Qwen3-VL without its tower, and zoo reads both together"


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
            videos=f"{__name__}.pictures:read_videos",
            summary="Qwen2 with images and videos of any size, and rotary positions of time, height and width",
        ),
        Family(
            name="qwen2_5_vl",
            config=f"{__name__}.config:Qwen2_5VLConfig",
            model=f"{__name__}.model:Qwen2VL",
            formats={"hf": f"{__name__}.hf:QWEN2_5_VL"},
            hf_types=("qwen2_5_vl",),
            pictures=f"{__name__}.pictures:read",
            videos=f"{__name__}.pictures:read_videos",
            summary="Qwen2-VL whose tower attends within windows and whose time is counted in seconds",
        ),
        Family(
            name="qwen3_vl",
            config=f"{__name__}.v3.config:Qwen3VLConfig",
            model=f"{__name__}.v3.model:Qwen3VL",
            formats={"hf": f"{__name__}.v3.hf:QWEN3_VL"},
            hf_types=("qwen3_vl",),
            pictures=f"{__name__}.pictures:read",
            videos=f"{__name__}.pictures:read_videos",
            near={"qwen3_vl_text": ALONE},
            summary="Qwen3 with a tower whose tokens enter at several depths, and interleaved positions",
        ),
        Family(
            name="qwen3_vl_moe",
            config=f"{__name__}.v3.config:Qwen3VLMoEConfig",
            model=f"{__name__}.v3.model:Qwen3VL",
            formats={"hf": f"{__name__}.v3.hf:QWEN3_VL_MOE"},
            hf_types=("qwen3_vl_moe",),
            pictures=f"{__name__}.pictures:read",
            videos=f"{__name__}.pictures:read_videos",
            near={"qwen3_vl_moe_text": ALONE},
            summary="Qwen3-VL with a mixture of experts",
        ),
    ]
