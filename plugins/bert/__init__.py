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
            name="xlm_roberta",
            config=f"{__name__}.xlm_roberta.config:XLMRobertaConfig",
            model=f"{__name__}.xlm_roberta.model:XLMRoberta",
            formats={"hf": f"{__name__}.xlm_roberta.hf:XLM_ROBERTA"},
            hf_types=("xlm-roberta", "xlm-roberta-xl"),
            summary="RoBERTa in a hundred languages, under most multilingual embedders; XL and XXL are pre-norm",
        ),
        Family(
            name="mpnet",
            config=f"{__name__}.mpnet.config:MPNetConfig",
            model=f"{__name__}.mpnet.model:MPNet",
            formats={"hf": f"{__name__}.mpnet.hf:MPNET"},
            hf_types=("mpnet",),
            summary="BERT with a learned bias per distance, shared by all layers: under English embedders",
        ),
        Family(
            name="electra",
            config=f"{__name__}.electra.config:ElectraConfig",
            model=f"{__name__}.electra.model:Electra",
            formats={"hf": f"{__name__}.electra.hf:ELECTRA"},
            hf_types=("electra",),
            summary="BERT trained to tell which tokens a small generator replaced; embeddings of a width of their own",
        ),
        Family(
            name="albert",
            config=f"{__name__}.albert.config:AlbertConfig",
            model=f"{__name__}.albert.model:Albert",
            formats={"hf": f"{__name__}.albert.hf:ALBERT"},
            hf_types=("albert",),
            summary="BERT that passes through the same layers many times; embeddings of a width of their own",
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
