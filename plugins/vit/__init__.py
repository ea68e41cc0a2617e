"""ViT: a transformer over the patches of an image."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="vit",
            config=f"{__name__}.config:ViTConfig",
            model=f"{__name__}.model:ViT",
            formats={"hf": f"{__name__}.hf:VIT"},
            hf_types=("vit",),
            summary="pre-norm encoder over the patches of an image, with a class token",
        )
    ]
