"""The parts of a family's page about files: formats, what is recognised, and whose tensor each weight is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from zoo.anatomy.config import ModelConfig
from zoo.errors import UsageError
from zoo.registry.family import Family
from zoo.weights import Step, same

from .shelf import config_of, models_of
from .words import WORDS, indented, table


def checkpoints(family: Family, language: str) -> Iterator[str]:
    """Which formats are read and written, and by what a checkpoint is recognised."""
    words = WORDS[language]
    yield f"## {words['checkpoints']}\n"
    rows = [["zoo", words["yes"], words["yes"]]]
    for name in family.formats:
        is_written = family.dialect(name).is_written
        rows.append([name, words["yes"], words["yes" if is_written else "no"]])
    yield table([words["format"], words["reads"], words["writes"]], rows)
    lines = []
    if family.hf_types:
        lines.append(f"- {words['by_model_type']}{words[':']}{_codes(family.hf_types)}")
    if "hf" in family.formats and family.dialect("hf").matches:
        lines.append(f"- {words['by_code']} `{family.formats['hf']}`")
    if written := _architectures(family):
        lines.append(f"- {words['by_architectures']}{words[':']}{_codes(written)}")
    lines += [f"- {words['near']}{words[':']}`{kind}`{words[':']}{why}" for kind, why in family.near.items()]
    yield "\n".join(lines)


def weights(family: Family, language: str) -> Iterator[str]:
    """The weight table of the hf dialect, worked out for the tiny config."""
    words, tiny = WORDS[language], family.config_class.tiny()
    if "hf" not in family.formats:
        return
    steps, _ = family.dialect("hf").mapping(tiny).plan(tiny.anatomy().shapes())
    rows = dict.fromkeys((_named(step.ours), _named(step.theirs), _op(step)) for step in steps)
    yield f"## {words['table']}\n"
    yield words["table_lead"] + "\n"
    yield f'??? note "{words["rows"].format(len(rows))}"\n'
    yield indented(table([words["ours"], words["theirs"], words["how"]], [list(row) for row in rows]))


def _architectures(family: Family) -> list[str]:
    if "hf" not in family.formats:
        return []
    configs = [family.config_class.tiny(), *(config_of(r.name) for r in models_of(family.name))]
    return list(dict.fromkeys(name for c in configs for name in _written(family, c)))


def _written(family: Family, c: ModelConfig) -> list[str]:
    try:
        return family.dialect("hf").to_config(c).get("architectures", [])
    except UsageError:  # the format has no word for it: the paper's Transformer is no Marian
        return []


def _named(names: tuple[str, ...]) -> str:
    """Names of tensors, layers and experts by their letter."""
    return _codes(dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.|$)", "{i}", name) for name in names))


def _op(step: Step) -> str:
    return "" if step.op is same else f"`{step.op}`"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
