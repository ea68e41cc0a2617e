"""A page for every family: prose by hand, all else from the family's record, config, presets and weight table."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

import yaml

from zoo.presets import ModelRecord
from zoo.registry.family import Family
from zoo.units import human_count
from zoo.verification.goldens.rerun import goldens_of

from . import deviations
from .checkpoints import checkpoints, weights
from .config_fields import fields_table
from .deviations import ROOT
from .drawings import layer
from .shelf import built_in, config_of, models_of
from .words import WORDS, indented, table

PROSE = ROOT / "docs" / "families"
SHOWN = {  # family -> the preset that its page shows: what people ask for first
    "baichuan": "baichuan2-7b",
    "albert": "albert-base-v2",
    "bert": "bert-base-uncased",
    "bloom": "bloom-7b1",
    "chatglm": "chatglm-6b",
    "chatglm2": "chatglm3-6b",
    "clip": "clip-vit-l14",
    "cohere": "command-r7b",
    "deberta": "deberta-v3-base",
    "decoder": "decoder/llama3",
    "deepseek": "deepseek-v3",
    "deepseek_v32": "deepseek-v3.2",
    "distilbert": "distilbert-base-uncased",
    "dinov2": "dinov2-base",
    "electra": "electra-base-discriminator",
    "ernie4_5": "ernie4.5-0.3b",
    "exaone": "exaone3.5-7.8b",
    "exaone4": "exaone4-32b",
    "falcon": "falcon-7b",
    "gemma": "gemma3-4b-text",
    "gemma3_vl": "gemma3-4b",
    "gemma3n": "gemma3n-e4b",
    "gemma4": "gemma4-26b-a4b",
    "gemma4_vl": "gemma4-31b-vl",
    "glm": "glm-4-9b-0414",
    "glm4_moe": "glm-4.5",
    "gpt2": "gpt2",
    "gpt_neox": "pythia-6.9b",
    "gpt_oss": "gpt-oss-20b",
    "gptj": "gptj-6b",
    "granite": "granite3-8b",
    "granitemoe": "granite3-1b-a400m",
    "helium": "helium1-preview-2b",
    "internlm2": "internlm2-7b",
    "internlm3": "internlm3-8b",
    "llama": "llama3.1-8b",
    "llama4": "llama4-scout-text",
    "llama4_vl": "llama4-scout",
    "minicpm": "minicpm-2b",
    "mistral": "mistral-7b-v0.3",
    "mixtral": "mixtral-8x7b",
    "modernbert": "modernbert-base",
    "olmo2": "olmo3-7b",
    "opt": "opt-6.7b",
    "mpnet": "mpnet-base",
    "phi3": "phi4",
    "qwen": "qwen-7b",
    "qwen2": "qwen2.5-7b",
    "qwen2_5_vl": "qwen2.5-vl-7b",
    "qwen2_moe": "qwen2-57b-a14b",
    "qwen2_vl": "qwen2-vl-7b",
    "qwen3": "qwen3-8b",
    "qwen3_5": "qwen3.5-27b",
    "qwen3_5_moe": "qwen3.5-35b-a3b",
    "qwen3_moe": "qwen3-30b-a3b",
    "qwen3_vl": "qwen3-vl-8b",
    "qwen3_vl_moe": "qwen3-vl-30b-a3b",
    "qwen3_next": "qwen3-next-80b-a3b",
    "qwen_vl": "qwen-vl-chat",
    "roberta": "roberta-base",
    "siglip": "siglip2-base-patch16-224",
    "siglip2": "siglip2-base-patch16-naflex",
    "smollm3": "smollm3-3b",
    "stablelm": "stablelm2-1.6b",
    "starcoder2": "starcoder2-7b",
    "t5": "flan-t5-base",
    "transformer": "transformer-base",
    "vit": "vit-base",
    "xlm_roberta": "xlm-roberta-base",
}
CHECKED = ROOT / "tools" / "docs" / "checked.yaml"  # family -> what it was compared with, and the test that does it


def index(language: str) -> str:
    """All families at a glance."""
    words = WORDS[language]
    rows = [
        [f"[{name}]({name}.md)", _lead(name, language) or family.summary, str(len(models_of(name)))]
        for name, family in built_in().items()
    ]
    head = [words["family"], words["what"], words["presets"]]
    return f"# {words['families']}\n\n{words['families_lead']}\n\n{table(head, rows)}"


def page(name: str, language: str) -> str:
    """The page of one family."""
    family = built_in()[name]
    parts = [
        prose(name, language),
        *_glance(name, language),
        *_sources(name, language),
        *_presets(name, language),
        *checkpoints(family, language),
        *_checked(name, language),
        *_deviations(name, language),
        *_fields(family, language),
        *weights(family, language),
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def prose(name: str, language: str) -> str:
    """What was written by hand: a title, a line that says what the family is, and what is peculiar to it."""
    return (PROSE / language / f"{name}.md").read_text(encoding="utf-8")


@cache
def checked() -> dict[str, list[dict[str, Any]]]:
    """What each family was compared with."""
    return yaml.safe_load(CHECKED.read_text(encoding="utf-8"))


def _lead(name: str, language: str) -> str:
    """The first paragraph behind the title."""
    paragraphs = prose(name, language).split("\n\n")
    return " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""


def _glance(name: str, language: str) -> Iterator[str]:
    words = WORDS[language]
    if name not in SHOWN:
        return
    traits = config_of(SHOWN[name]).anatomy().traits
    yield f"## {words['at_a_glance']}\n"
    yield f"{words['as_in']} `{SHOWN[name]}`{words[':']}\n"
    yield table([words["part"], words["value"]], [[f"**{words[f'trait {k}']}**", told] for k, told in traits.items()])
    yield layer(SHOWN[name])


def _sources(name: str, language: str) -> Iterator[str]:
    papers = dict.fromkeys(_papers(name))
    if papers:
        yield f"## {WORDS[language]['sources']}\n"
        yield "\n".join(f"- {paper}" for paper in papers)


def _papers(name: str) -> Iterator[str]:
    """What the presets name as their source, and the papers that the docstrings cite."""
    family = built_in()[name]
    owner = resolve_name(family.model)
    texts = [inspect.getdoc(family.config_class) or "", import_module(owner.__module__).__doc__ or ""]
    texts += [inspect.getdoc(owner) or ""]
    sources = [config_of(r.name).source for r in models_of(name)]
    for text in sources:
        if text and not re.search(r"arXiv:|https?:", text):
            yield text
        elif text.startswith("http"):
            yield f"<{text}>"
    for number in re.findall(r"arXiv:(\d{4}\.\d{4,5})", " ".join([*sources, *texts])):
        yield f"[arXiv:{number}](https://arxiv.org/abs/{number})"


def _presets(name: str, language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"## {words['presets']}\n"
    models = models_of(name)
    if not models:
        yield words["no_presets"]
        return
    head = [words[key] for key in ("model", "about", "params", "layers", "context", "weights")]
    yield table(head, [_preset(r, words["gated"]) for r in models])


def _preset(r: ModelRecord, gated: str) -> list[str]:
    return [
        f"`{r.name}`", r.description, human_count(r.parameters) if r.parameters else "", str(r.num_layers or ""),
        f"{r.max_seq_len:,}" if r.max_seq_len else "", r.hub + (gated if r.gated else ""),
    ]  # fmt: skip


def _checked(name: str, language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"## {words['checked']}\n"
    yield words["contract"] + "\n"
    rows = []
    for row in checked().get(name, []):
        compared = words[","].join(words[what] for what in row["compared"])
        rows.append([row["against"], compared, f"`{row['test']}`"])
    goldens = goldens_of(built_in()[name])
    for reference in dict.fromkeys(g.reference for g in goldens):
        cases = ", ".join(f"`{g.name}`" for g in goldens if g.reference == reference)
        rows.append([reference, f"{words['golden']}{words[':']}{cases}", f"`zoo verify --golden {name}`"])
    if rows:
        yield table([words["against"], words["compared"], words["test"]], rows)


def _deviations(name: str, language: str) -> Iterator[str]:
    words = WORDS[language]
    found = deviations.of(name, language)
    yield f"## {words['deviations']}\n"
    yield "\n".join(found) if found else words["no_deviations"]
    yield f"\n{words['other_deviations']}{words[':']}[{words['deviations']}](../deviations.md)"


def _fields(family: Family, language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"## {words['config']}\n"
    yield words["config_lead"] + "\n"
    yield f'??? note "{family.config_class.__name__}"\n'
    yield indented(fields_table(family.config_class, language))
