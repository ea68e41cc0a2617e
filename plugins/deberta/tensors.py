"""The tensors of a DeBERTa v2 or v3 as Hugging Face names them."""

from __future__ import annotations

from zoo.weights import Entry, Table, alias, ignore, rename, respell, under

from .config import DebertaConfig

UNUSED = "a pretraining head that model.head does not use"
LAYER = (
    *(rename(f"attn.{name[0]}_proj", f"attention.self.{name}_proj") for name in ("query", "key", "value")),
    *(rename(f"attn.pos_{name[0]}_proj", f"attention.self.pos_{name}_proj") for name in ("query", "key")),
    rename("attn.o_proj", "attention.output.dense"),
    rename("attn_norm", "attention.output.LayerNorm"),
    rename("mlp.up_proj", "intermediate.dense"),
    rename("mlp.down_proj", "output.dense"),
    rename("mlp_norm", "output.LayerNorm"),
)


def mapping(c: DebertaConfig) -> Table:
    base = "" if c.head == "none" else "deberta"
    positions = "embeddings.position_embeddings"
    return Table(
        under(
            "", base,
            rename("embed.tokens", "embeddings.word_embeddings"),
            rename("embed.positions", positions) if c.has_positions else ignore(positions, "the model adds none"),
            rename("embed.token_types", "embeddings.token_type_embeddings"),
            rename("embed.norm", "embeddings.LayerNorm"),
            ignore("embeddings.position_ids", "a buffer that counts 0, 1, 2, ..."),
            rename("distances.table", "encoder.rel_embeddings"),
            rename("distances.norm", "encoder.LayerNorm"),
            rename("layers.0.conv.proj", "encoder.conv.conv"),
            rename("layers.0.conv.norm", "encoder.conv.LayerNorm"),
            *under("layers.{i}", "encoder.layer.{i}", *LAYER),
        ),
        *_head(c),
        spelling=respell((r"^(?=(?:embeddings|encoder)\.)", f"{base}.") if base else (r"^deberta\.", "")),
    )  # fmt: skip


def _head(c: DebertaConfig) -> list[Entry]:
    heads = {True: ("cls.predictions", "transform."), False: ("lm_predictions.lm_head", "")}
    others = [ignore(name, UNUSED) for name in ("cls", "lm_predictions", "mask_predictions")]
    if c.head != "masked_lm":
        name = "qa_outputs" if c.head == "question_answering" else "classifier"
        deep = [rename("classifier.dense", "pooler.dense"), rename("classifier.out_proj", "classifier")]
        return [*others, *([] if c.head == "none" else [*deep, rename("classifier", name)])]
    name, part = heads[c.is_legacy]
    return [
        *(entry for entry in others if entry.theirs != name.partition(".")[0]),
        rename("lm_head.dense", f"{name}.{part}dense"),
        rename("lm_head.norm", f"{name}.{part}LayerNorm"),
        rename("lm_head.decoder.bias", f"{name}.bias"),
        *([alias(f"{name}.decoder.bias", of=f"{name}.bias")] if c.is_legacy else []),
        *([alias(f"{name}.decoder.weight", of="deberta.embeddings.word_embeddings.weight")] if c.is_legacy else []),
    ]
