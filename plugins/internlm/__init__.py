"""InternLM 2, 2.5 and 3."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="internlm2",
            config=f"{__name__}.config:InternLM2Config",
            model=f"{__name__}.model:InternLM2",
            formats={"hf": f"{__name__}.hf:INTERNLM2", "gguf": f"{__name__}.gguf:INTERNLM2"},
            hf_types=("internlm2",),
            summary="LLaMA's arithmetic, each key/value head's queries, key and value in one matrix",
        ),
        Family(
            name="internlm3",
            config=f"{__name__}.config:InternLM3Config",
            model=f"{__name__}.model:InternLM3",
            formats={"hf": f"{__name__}.third_hf:INTERNLM3", "gguf": f"{__name__}.third_gguf:INTERNLM3"},
            hf_types=("internlm3",),
            summary="LLaMA's block and tensor names, with biases of q, k and v apart from the others'",
        ),
    ]
