"""MiniCPM and MiniCPM 3."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="minicpm",
            config=f"{__name__}.config:MiniCPMConfig",
            model=f"{__name__}.model:MiniCPM",
            formats={"hf": f"{__name__}.hf:MINICPM", "gguf": f"{__name__}.gguf:MINICPM"},
            hf_types=("minicpm",),
            summary="LLaMA's block and tensor names, with factors on embeddings, branches and logits",
        ),
        Family(
            name="minicpm3",
            config=f"{__name__}.config:MiniCPM3Config",
            model=f"{__name__}.model:MiniCPM3",
            formats={"hf": f"{__name__}.third_hf:MINICPM3", "gguf": f"{__name__}.third_gguf:MINICPM3"},
            hf_types=("minicpm3",),
            summary="MiniCPM's factors around multi-head latent attention",
        ),
    ]
