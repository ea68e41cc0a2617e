"""LLaMA 1 to 3.2, and the models that share its block: TinyLlama, SmolLM2, Yi and many more."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="llama",
            config=f"{__name__}.config:LlamaConfig",
            model=f"{__name__}.model:Llama",
            formats={"hf": f"{__name__}.hf:LLAMA", "meta": f"{__name__}.meta:LLAMA", "gguf": f"{__name__}.gguf:LLAMA"},
            hf_types=("llama",),
            summary="RMSNorm, RoPE, grouped-query attention, SwiGLU",
        )
    ]
