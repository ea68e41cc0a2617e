"""SigLIP: a tower for texts and one for images, trained so that each pair is judged by itself."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="siglip",
            config=f"{__name__}.config:SiglipConfig",
            model=f"{__name__}.model:Siglip",
            formats={"hf": f"{__name__}.hf:SIGLIP"},
            hf_types=("siglip", "siglip_text_model", "siglip_vision_model"),
            summary="image-text pair judged by sigmoids, SigLIP and SigLIP 2; either tower alone, and classifiers",
        ),
        Family(
            name="siglip2",
            config=f"{__name__}.naflex.config:Siglip2Config",
            model=f"{__name__}.naflex.model:Siglip2",
            formats={"hf": f"{__name__}.naflex.hf:SIGLIP2"},
            hf_types=("siglip2", "siglip2_text_model", "siglip2_vision_model"),
            summary="SigLIP 2 for pictures of any size and shape (NaFlex)",
        ),
    ]
