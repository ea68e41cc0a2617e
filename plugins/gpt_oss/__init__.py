"""gpt-oss, OpenAI's open models."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="gpt_oss",
            config=f"{__name__}.config:GptOssConfig",
            model=f"{__name__}.model:GptOss",
            formats={"hf": f"{__name__}.hf:GPT_OSS", "gguf": f"{__name__}.gguf:GPT_OSS"},
            hf_types=("gpt_oss",),
            summary="attention with a sink per head, a window in every other layer, and experts with a clamped SwiGLU",
        )
    ]
