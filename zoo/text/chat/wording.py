"""What a folder says of how conversations are worded: its templates, or whose model it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.text.files import TEMPLATE_BYTES, read_json, read_text


def chat_templates(folder: Path, config: dict[str, Any], config_file: Path) -> tuple[dict[str, str], dict[str, object]]:
    """Templates by name, and the file that each comes from."""
    listed = config.get("chat_template")
    if isinstance(listed, str):
        listed = [{"name": "default", "template": listed}]
    found: dict[str, str] = {}
    try:
        found |= {entry["name"]: entry["template"] for entry in listed or []}
        is_text = all(isinstance(part, str) for pair in found.items() for part in pair)
    except (TypeError, KeyError):
        is_text = False
    if not is_text:
        raise CheckpointError(config_file, "chat_template", "is neither a text nor a list of named texts")
    files: dict[str, object] = dict.fromkeys(found, config_file)
    if (file := folder / "chat_template.jinja").exists():
        found["default"], files["default"] = read_text(file, TEMPLATE_BYTES), file
    return found, files


def is_llama2(folder: Path) -> bool:
    """Whether the model has LLaMA 2's size of vocabulary, context and positions, or lies as Meta released it."""
    c = read_json(folder / "config.json")
    if c:
        sizes = c.get("model_type"), c.get("vocab_size"), c.get("max_position_embeddings")
        rope = c.get("rope_parameters") if isinstance(c.get("rope_parameters"), dict) else c
        return sizes == ("llama", 32_000, 4096) and rope.get("rope_theta", 10_000) == 10_000
    p = read_json(folder / "params.json")
    return p.get("norm_eps") == 1e-5 and p.get("vocab_size") in (-1, 32_000) and "rope_theta" not in p
