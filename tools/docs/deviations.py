"""docs/deviations.md and its Chinese page by entry, and which families each concerns."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Words at the beginning of an entry's title -> families; the first that matches decides.
CONCERNS = (
    (r"GPT-2", "gpt2"),
    (r"Dynamic NTK", "llama qwen qwen_vl"),
    (r"DeepSeek-V3\.2|GLM-5", "deepseek_v32"),
    (r"DeepSeek", "deepseek"),
    (r"Qwen2-VL and Qwen2\.5-VL", "qwen2_vl qwen2_5_vl"),
    (r"Qwen2\.5-VL", "qwen2_5_vl"),
    (r"Qwen2-VL", "qwen2_vl"),
    (r"Qwen-VL", "qwen_vl"),
    (r"Qwen2\.5-1M and Qwen3", "qwen2 qwen3 qwen3_moe"),
    (r"Qwen2\.5-1M", "qwen2"),
    (r"Qwen2", "qwen2 qwen2_moe qwen3_moe"),
    (r"Qwen3", "qwen3 qwen3_moe"),
    (r"The first Qwen|Qwen", "qwen"),
    (r"CLIP and ViT", "clip vit"),
    (r"SigLIP", "siglip"),
    (r"CLIP", "clip"),
    (r"ViT", "vit"),
    (r"ChatGLM-6B", "chatglm"),
    (r"ChatGLM[23]", "chatglm2"),
    (r"GLM-4\.5", "glm4_moe"),
    (r"GLM-4", "glm"),
    (r"Marian|The Transformer of 2017", "transformer"),
    (r"Gemma 3 with images", "gemma3_vl"),
    (r"Gemma 4 with images", "gemma4_vl"),
    (r"Gemma 3n", "gemma3n"),
    (r"gpt-oss", "gpt_oss"),
    (r"Gemma", "gemma gemma3_vl"),
    (r"BLOOM", "bloom"),
    (r"Falcon", "falcon"),
    (r"OLMo", "olmo2"),
    (r"Phi-3", "phi3"),
    (r"Mixtral", "mixtral"),
    (r"Mistral", "mistral"),
    (r"Llama 4", "llama4 llama4_vl"),
    (r"LLaMA|Llama", "llama"),
    (r"T5|mT5|UMT5", "t5"),
    (r"XLM-RoBERTa", "xlm_roberta"),
    (r"RoBERTa", "roberta"),
    (r"DistilBERT", "distilbert"),
    (r"ModernBERT", "modernbert"),
    (r"MPNet", "mpnet"),
    (r"ELECTRA", "electra"),
    (r"ALBERT", "albert"),
    (r"BERT", "bert"),
)


PAGES = {"en": ROOT / "docs" / "deviations.md", "zh": ROOT / "docs" / "zh" / "deviations.md"}


def entries(language: str = "en") -> list[str]:
    """The items of the page's list in one language, each with its dash; both have the same, in the same order."""
    text = PAGES[language].read_text(encoding="utf-8")
    return [entry.strip() for entry in re.split(r"(?m)^(?=- \*\*)", text) if entry.startswith("- **")]


def concerned(entry: str) -> tuple[str, ...]:
    """The families that an entry is about; none where its title names no family."""
    title = entry.removeprefix("- **")
    return next((tuple(names.split()) for words, names in CONCERNS if re.match(words, title)), ())


def of(family: str, language: str) -> list[str]:
    """The entries that concern `family`, which the English title says."""
    return [own for title, own in zip(entries(), entries(language), strict=True) if family in concerned(title)]
