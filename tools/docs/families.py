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

from zoo.errors import UsageError, ZooError
from zoo.family import Family
from zoo import presets
from zoo.presets import ModelRecord, list_models
from zoo.registry import installed
from zoo.units import human_count

from . import deviations
from .config_fields import fields_table
from .deviations import ROOT
from .words import WORDS, indented, table

PROSE = ROOT / "docs" / "families"
CHECKED = ROOT / "tools" / "docs" / "checked.yaml"  # family -> what it was compared with, and the test that does it


def built_in() -> dict[str, Family]:
    """The families of this repository by name."""
    registry = installed()
    ours = {n: f for n, f in registry.families.items() if registry.origin[n].distribution == "zoo-lm"}
    return dict(sorted(ours.items()))


def index(language: str) -> str:
    """All families at a glance."""
    words = WORDS[language]
    rows = [
        [f"[{name}]({name}.md)", _lead(name, language) or family.summary, str(len(_models(name)))]
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
        *_checkpoints(family, language),
        *_checked(name, language),
        *_deviations(name, language),
        *_fields(family, language),
        *_weights(family, language),
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def prose(name: str, language: str) -> str:
    """What was written by hand: a title, a line that says what the family is, and what is peculiar to it."""
    return (PROSE / language / f"{name}.md").read_text(encoding="utf-8")


def checked() -> dict[str, list[dict[str, Any]]]:
    """What each family was compared with."""
    return yaml.safe_load(CHECKED.read_text(encoding="utf-8"))


@cache
def _models(name: str) -> list[ModelRecord]:
    return list_models(family=name)


@cache
def _config(preset: str) -> Any:
    return presets.config(preset)


def _lead(name: str, language: str) -> str:
    """The first paragraph behind the title."""
    paragraphs = prose(name, language).split("\n\n")
    return " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""


def _glance(name: str, language: str) -> Iterator[str]:
    words, models = WORDS[language], _models(name)
    if not models:
        return
    example = max(models, key=lambda r: bool(r.hub))
    try:
        traits = _config(example.name).anatomy().traits
    except (ZooError, NotImplementedError):
        return
    yield f"## {words['at_a_glance']}\n"
    yield f"{words['as_in']} `{example.name}`{words[':']}\n"
    yield table([words["part"], words["value"]], [[f"**{key}**", value] for key, value in traits.items()])


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
    sources = [_config(r.name).source for r in _models(name)]
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
    models = _models(name)
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


def _checkpoints(family: Family, language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"## {words['checkpoints']}\n"
    rows = [["zoo", words["yes"], words["yes"]]]
    for name in family.formats:
        is_written = getattr(family.dialect(name), "FILES", ()) is not None
        rows.append([name, words["yes"], words["yes" if is_written else "no"]])
    yield table([words["format"], words["reads"], words["writes"]], rows)
    lines = []
    if family.hf_types:
        lines.append(f"- {words['by_model_type']}{words[':']}{_codes(family.hf_types)}")
    if "hf" in family.formats and hasattr(family.dialect("hf"), "matches"):
        lines.append(f"- {words['by_code']} `{family.formats['hf']}`")
    if written := _architectures(family):
        lines.append(f"- {words['by_architectures']}{words[':']}{_codes(written)}")
    lines += [f"- {words['near']}{words[':']}`{kind}`{words[':']}{why}" for kind, why in family.near.items()]
    yield "\n".join(lines)


def _architectures(family: Family) -> list[str]:
    if "hf" not in family.formats:
        return []
    configs = [family.config_class.tiny(), *(_config(r.name) for r in _models(family.name))]
    return list(dict.fromkeys(name for c in configs for name in _written(family, c)))


def _written(family: Family, c: Any) -> list[str]:
    try:
        return family.dialect("hf").to_config(c).get("architectures", [])
    except UsageError:  # the format has no word for it: the paper's Transformer is no Marian
        return []


def _checked(name: str, language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"## {words['checked']}\n"
    yield words["contract"] + "\n"
    rows = []
    for row in checked().get(name, []):
        compared = words[","].join(words[what] for what in row["compared"])
        rows.append([row["against"], compared, f"`{row['test']}`"])
    if rows:
        yield table([words["against"], words["compared"], words["test"]], rows)


def _deviations(name: str, language: str) -> Iterator[str]:
    words = WORDS[language]
    found = deviations.of(name)
    yield f"## {words['deviations']}\n"
    yield "\n".join(found) if found else words["no_deviations"]
    yield f"\n{words['other_deviations']}{words[':']}[{words['deviations']}](../deviations.md)"


def _fields(family: Family, language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"## {words['config']}\n"
    yield words["config_lead"] + "\n"
    yield f'??? note "{family.config_class.__name__}"\n'
    yield indented(fields_table(family.config_class, language))


def _weights(family: Family, language: str) -> Iterator[str]:
    words, tiny = WORDS[language], family.config_class.tiny()
    if "hf" not in family.formats:
        return
    steps, _ = family.dialect("hf").mapping(tiny).plan(tiny.anatomy().shapes())
    rows = dict.fromkeys(
        tuple(_per_layer(", ".join(f"`{n}`" for n in names)) for names in (step.ours, step.theirs))
        + ("" if str(step.op) == "same" else f"`{re.sub(r'[(]{.*', '', str(step.op))}`",)
        for step in steps
    )
    yield f"## {words['table']}\n"
    yield words["table_lead"] + "\n"
    yield f'??? note "{words["rows"].format(len(rows))}"\n'
    yield indented(table([words["ours"], words["theirs"], words["how"]], [list(row) for row in rows]))


def _per_layer(names: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "{i}", names)


def _codes(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)
