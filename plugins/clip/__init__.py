"""CLIP: a tower for texts and one for images whose outputs meet in one space."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="clip",
            config=f"{__name__}.config:CLIPConfig",
            model=f"{__name__}.model:CLIP",
            formats={"hf": f"{__name__}.hf:CLIP"},
            hf_types=("clip", "clip_text_model", "clip_vision_model"),
            summary="contrastive image-text pair of OpenAI and LAION; either tower alone too",
        )
    ]
