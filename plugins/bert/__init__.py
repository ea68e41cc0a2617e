"""BERT, RoBERTa and DistilBERT: bidirectional encoders, with the heads they are pretrained and fine-tuned with."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="bert",
            config=f"{__name__}.config:BertConfig",
            model=f"{__name__}.model:Bert",
            formats={"hf": f"{__name__}.hf.bert:BERT", "gguf": f"{__name__}.gguf:BERT"},
            hf_types=("bert",),
            summary="post-norm encoder with token types; masked-LM, next-sentence and classification heads",
        ),
        Family(
            name="roberta",
            config=f"{__name__}.config:RobertaConfig",
            model=f"{__name__}.model:Roberta",
            formats={"hf": f"{__name__}.hf.roberta:ROBERTA"},
            hf_types=("roberta",),
            summary="BERT without sentence pairs, whose positions count real tokens",
        ),
        Family(
            name="distilbert",
            config=f"{__name__}.config:DistilBertConfig",
            model=f"{__name__}.model:DistilBert",
            formats={"hf": f"{__name__}.hf.distilbert:DISTILBERT"},
            hf_types=("distilbert",),
            summary="BERT distilled to half its layers, without token types and pooler",
        ),
    ]
