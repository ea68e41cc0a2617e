"""ChatGLM-6B, and ChatGLM2-6B to GLM-4-9B in the layout of their own remote code; none of which is run."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="chatglm",
            config=f"{__name__}.config:ChatGLMConfig",
            model=f"{__name__}.model:ChatGLM",
            formats={"hf": f"{__name__}.hf:CHATGLM"},
            hf_types=("chatglm",),
            summary="a prefix that sees all of itself, two rotary positions per token, normed residuals",
        ),
        Family(
            name="chatglm2",
            config=f"{__name__}.chatglm2.config:ChatGLM2Config",
            model=f"{__name__}.chatglm2.model:ChatGLM2",
            formats={"hf": f"{__name__}.chatglm2.hf:CHATGLM2", "gguf": f"{__name__}.chatglm2.gguf:CHATGLM2"},
            hf_types=("chatglm",),
            summary="ChatGLM2, ChatGLM3 and GLM-4-9B: LLaMA's block, half of each head rotary in interleaved pairs",
        ),
    ]
