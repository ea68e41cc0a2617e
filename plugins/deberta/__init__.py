"""DeBERTa in its second and third version: an encoder whose scores tell what a word is from where it stands."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="deberta",
            config=f"{__name__}.config:DebertaConfig",
            model=f"{__name__}.model:Deberta",
            formats={"hf": f"{__name__}.hf:DEBERTA"},
            hf_types=("deberta-v2",),
            summary="post-norm encoder with disentangled attention; masked-LM and classification heads (v2, v3)",
        )
    ]
