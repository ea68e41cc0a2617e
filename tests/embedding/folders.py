"""Classifiers and folders of sentence-transformers around the decoder that comes with zoo, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import zoo
from zoo.registry import installed

MODES = {
    "cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "mean_sqrt": "mean_sqrt_len_tokens",
    "weighted_mean": "weightedmean_tokens", "last": "lasttoken",
}  # fmt: skip
KIND = "sentence_transformers.models."


def sentence_folder(
    folder: Path, *modes: str, dense: dict[str, Any] | None = None, normalise: bool = True, **settings: Any
) -> Path:
    """The decoder `tiny` with a pooling, a Dense layer if its settings are given, and what the config says beside."""
    zoo.convert("tiny", folder, format="hf")
    names = ["Transformer", "Pooling", *(["Dense"] if dense is not None else []), *(["Normalize"] if normalise else [])]
    paths = ["", *(f"{i}_{name}" for i, name in enumerate(names) if i)]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": KIND + name}
        for i, (path, name) in enumerate(zip(paths, names, strict=True))
    ]
    write(folder / "modules.json", modules)
    pooling = {f"pooling_mode_{theirs}": ours in modes for ours, theirs in MODES.items()}
    width = zoo.inspect("tiny").config.to_dict()["hidden_size"]
    counts = settings.pop("include_prompt", True)
    write(
        folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **pooling, "include_prompt": counts}
    )
    write(folder / "config_sentence_transformers.json", settings)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    if dense is not None:
        n_in = width * len(modes)
        config = {
            "in_features": n_in,
            "out_features": 5,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        }
        write(folder / "2_Dense" / "config.json", config | dense)
        g = torch.Generator().manual_seed(0)
        weights = {"linear.weight": torch.randn(5, n_in, generator=g), "linear.bias": torch.randn(5, generator=g)}
        save_file(weights, folder / "2_Dense" / "model.safetensors")
    return folder


def write(file: Path, value: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value))


def classifier(folder: Path, **fields: Any) -> Path:
    """The decoder that comes with zoo under a random head for classes, with its tokenizer."""
    base = zoo.load("tiny", dtype="float32")
    kind = installed()["headed"].config_class
    config = kind(
        trunk=base.config, **{"head": "sequence_classification", "pad_token_id": 0, "eos_token_id": [2], **fields}
    )
    model = zoo.build(config, device="cpu", seed=3)
    model.trunk.load_state_dict({n: x for n, x in base.state_dict().items() if not n.startswith("lm_head")})
    torch.nn.init.normal_(model.classifier.weight)
    zoo.save(model, folder)
    for file in Path(zoo.__file__).parent.glob("box/tiny/tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
