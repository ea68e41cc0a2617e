"""T5, T5 1.1, Flan-T5, mT5 and UMT5."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="t5",
            config=f"{__name__}.config:T5Config",
            model=f"{__name__}.model:T5",
            formats={"hf": f"{__name__}.hf:T5", "gguf": f"{__name__}.gguf:T5"},
            hf_types=("t5", "mt5", "umt5"),
            summary="encoder-decoder with a learned bias per distance and unscaled scores",
        )
    ]
