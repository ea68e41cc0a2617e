"""DINOv2: an encoder of images that was trained without labels, with registers or without."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="dinov2",
            config=f"{__name__}.config:Dinov2Config",
            model=f"{__name__}.model:Dinov2",
            formats={"hf": f"{__name__}.hf:DINOV2"},
            hf_types=("dinov2", "dinov2_with_registers"),
            summary="self-supervised encoder of images with layer scale, and registers if any; classifiers of images",
        )
    ]
