"""Decoders of every family under another head: classifiers, reward models, token classifiers, and bare ones."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="headed",
            config=f"{__name__}.config:HeadedConfig",
            model=f"{__name__}.model:Headed",
            formats={"hf": f"{__name__}.hf:HEADED"},
            summary="a decoder of another family with a head for classes, or with none",
        )
    ]
