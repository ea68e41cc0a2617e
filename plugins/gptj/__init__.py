"""GPT-J: a decoder whose attention and MLP read the same normed state."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="gptj",
            config=f"{__name__}.config:GPTJConfig",
            model=f"{__name__}.model:GPTJ",
            formats={"hf": f"{__name__}.hf:GPTJ"},
            hf_types=("gptj",),
            summary="attention and MLP side by side after one norm; neighbouring channels of a share rotate",
        ),
    ]
