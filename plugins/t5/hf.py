"""T5, mT5 and UMT5 as Hugging Face stores them.

Whether the head is the embedding, and whether its input is scaled, is told differently by files of transformers 4
(tie_word_embeddings says both) and 5 (which writes tie_word_embeddings true always, scale_decoder_outputs for the
second, and the head itself for the first), so the tensors are asked too.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.weights import Dialect, ForeignConfig, key, listed, must_be, write_keys, write_tokens

from .config import T5Config
from .hf_table import mapping as mapping

KEYS = (
    key("vocab_size"),
    key("hidden_size", "d_model"),
    key("intermediate_size", "d_ff"),
    key("head_dim", "d_kv"),
    key("num_layers"),
    key("num_heads"),
    key("num_buckets", "relative_attention_num_buckets", default=32),
    key("max_distance", "relative_attention_max_distance", default=128, is_told=False),  # younger than T5
    key("norm_eps", "layer_norm_epsilon", default=1e-6),
    key("decoder_start_token_id", default=0),
)
ACTIVATIONS = {
    "relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "silu": "silu", "gelu_pytorch_tanh": "gelu_tanh",
}  # fmt: skip
INERT = (
    "dropout_rate", "n_positions", "output_past", "classifier_dropout", "scalable_attention", "max_new_tokens",
)  # fmt: skip
KINDS = ("ForConditionalGeneration", "EncoderModel", "WithLMHeadModel")  # the last is the first's name of 2019
ABSENT = {"t5": "relu", "mt5": "gated-gelu", "umt5": "gated-gelu"}  # what each takes for feed_forward_proj
CLASSES = {"t5": "T5", "mt5": "MT5", "umt5": "UMT5"}


def from_config(hf: ForeignConfig) -> T5Config:
    flavour = str(hf["model_type"])
    kinds = [CLASSES.get(flavour, "T5") + kind for kind in KINDS]
    hf.of_class(*kinds)
    hf.ignore(*INERT)
    values = hf.read(T5Config, KEYS)
    is_encoder = kinds[1] in listed(hf.raw.get("architectures"))
    if is_encoder:
        hf.ignore("is_encoder_decoder")
    else:
        hf.require(is_encoder_decoder=True)
    decoder_layers = hf.as_type(int, hf.get("num_decoder_layers", values["num_layers"]), "num_decoder_layers")
    said = str(hf.get("feed_forward_proj", ABSENT.get(flavour, "relu")))
    if flavour == "t5":
        hf.assumed.pop("feed_forward_proj", None)  # younger than T5, whose files name no release to tell it by
    kind, dash, act = said.rpartition("-")
    if act not in ACTIVATIONS or (dash and kind != "gated"):
        raise CheckpointError(hf.file, "feed_forward_proj", f"{clean(repr(said))} is not known")
    activation = "gelu_tanh" if dash and act == "gelu" else ACTIVATIONS[act]  # gated-gelu has always meant gelu_new
    _check_copies(hf, said, activation, is_gated=bool(dash))
    says_tied = hf.as_type(bool, hf.get("tie_word_embeddings", True), "tie_word_embeddings")
    is_tied = says_tied and not _has_own_head(hf)
    scales = {"t5": says_tied, "mt5": False, "umt5": is_tied}.get(flavour, False)  # where no key says it
    if flavour == "mt5":
        hf.require(scale_decoder_outputs=False)  # transformers does not read it, and never scales
    is_scaled = hf.as_type(bool, hf.get("scale_decoder_outputs", scales), "scale_decoder_outputs")
    hf.assumed.pop("scale_decoder_outputs", None)  # files before transformers 5 say it so
    if "scale_decoder_outputs" in hf.raw and "scale_decoder_outputs" not in hf:
        raise CheckpointError(hf.file, "scale_decoder_outputs", "null is neither true nor false")
    return T5Config(
        **values,
        **hf.tokens(),
        num_decoder_layers=None if is_encoder else decoder_layers,
        is_gated=bool(dash),
        activation=activation,
        tie_embeddings=is_tied,
        scale_outputs=is_scaled,
        has_bias_per_layer=flavour == "umt5",
        flavour=flavour,
    )


def _check_copies(hf: ForeignConfig, said: str, activation: str, *, is_gated: bool) -> None:
    """Refuse copies of feed_forward_proj that say otherwise; transformers would believe them."""
    hf.require(is_gated_act=is_gated)
    if (found := hf.get("dense_act_fn")) is not None and ACTIVATIONS.get(str(found)) != activation:
        raise CheckpointError(
            hf.file, "dense_act_fn", f"{clean(repr(found))}, but feed_forward_proj is {clean(repr(said))}"
        )


def _has_own_head(hf: ForeignConfig) -> bool:
    """A file that says tied, never scales, and has a head: transformers 5 writes untied models so."""
    never_scales = hf.raw.get("scale_decoder_outputs") is False or hf.raw["model_type"] != "t5"
    return "lm_head.weight" in hf.tensors and never_scales


def to_config(c: T5Config) -> dict[str, Any]:
    scales = {"mt5": False, "umt5": c.tie_embeddings}.get(c.flavour, c.scale_outputs)  # what transformers does to each
    must_be(c, f"a {c.flavour} config.json", has_bias_per_layer=c.flavour == "umt5", scale_outputs=scales)
    if c.is_gated and c.activation == "gelu":  # gated-gelu means the tanh form
        must_be(c, f"a {c.flavour} config.json of a gated MLP", activation="gelu_tanh")
    act = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation)
    kind = "EncoderModel" if c.num_decoder_layers is None else "ForConditionalGeneration"
    return {
        "architectures": [CLASSES[c.flavour] + kind],
        "model_type": c.flavour,
        "is_encoder_decoder": c.num_decoder_layers is not None,
        "feed_forward_proj": f"gated-{act}".replace("gated-gelu_new", "gated-gelu") if c.is_gated else act,
        "num_decoder_layers": c.num_layers if c.num_decoder_layers is None else c.num_decoder_layers,
        "tie_word_embeddings": c.tie_embeddings,
        "scale_decoder_outputs": c.scale_outputs,
        **write_keys(c, KEYS),
        **write_tokens(c),
    }


T5 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
